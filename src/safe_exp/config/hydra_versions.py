"""Calls that Hydra 1.4 and OmegaConf 2.4 want otherwise than Hydra 1.3 and OmegaConf 2.3; the code runs with both."""

from collections.abc import Callable, Mapping
from typing import Any

import hydra
import hydra.utils
import omegaconf
from omegaconf import OmegaConf

_HYDRA_1_3 = hydra.__version__.startswith("1.3.")

# Keyword arguments of hydra.main and initialize_config_dir. Without a version_base Hydra 1.3 takes the defaults of 1.1;
# Hydra 1.4 has those of 1.3 alone, and warns where one is given.
VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if _HYDRA_1_3 else {}

# Keyword argument of ConfigStore.store for what may be stored already: 1.3 replaces it, 1.4 warns without this.
REPLACE: dict[str, Any] = {} if _HYDRA_1_3 else {"replace": True}

# OmegaConf 2.4 warns of the name that 2.3 has, whose own register_resolver is another, older function.
register_resolver: Callable[..., None] = (
    OmegaConf.register_new_resolver if omegaconf.__version__.startswith("2.3.") else OmegaConf.register_resolver
)


def instantiate(settings: Mapping[str, Any], **arguments: Any) -> Any:
    """Build the object that the `_target_` of a config names, as hydra.utils.instantiate does.

    Hydra 1.4 wants a list of what may be built: the one class that the user's config names, and nothing inside it.

    Args:
        settings: `_target_` and its arguments.
        arguments: further ones, which come before those in `settings`.
    Raises:
        InstantiationException: as Hydra raises it.
    """
    allowed = {} if _HYDRA_1_3 else {"_execution_whitelist_": str(settings["_target_"])}
    return hydra.utils.instantiate(settings, **allowed, **arguments)
