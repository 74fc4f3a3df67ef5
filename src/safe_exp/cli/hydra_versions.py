"""Calls that Hydra 1.4 and OmegaConf 2.4 want otherwise than Hydra 1.3 and OmegaConf 2.3; the code runs with both."""

import hydra
import omegaconf
from omegaconf import OmegaConf

# Keyword arguments of hydra.main and initialize_config_dir. Without a version_base Hydra 1.3 takes the defaults of 1.1;
# Hydra 1.4 has those of 1.3 alone, and warns where one is given.
VERSION_BASE = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}

# Keyword argument of ConfigStore.store for what may be stored already: 1.3 replaces it, 1.4 warns without this.
REPLACE = {} if hydra.__version__.startswith("1.3.") else {"replace": True}

# OmegaConf 2.4 warns of the name that 2.3 has, whose own register_resolver is another, older function.
register_resolver = (
    OmegaConf.register_new_resolver if omegaconf.__version__.startswith("2.3.") else OmegaConf.register_resolver
)
