"""The configs of a sweep's jobs. Hydra takes an eighth of a second for each; most differ in a few numbers alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

FREE = ("model.alpha", "model.beta", "model.gamma", "seed", "hydra.sweep.subdir")  # numbers that choose no other config


class Composer:
    """Composes jobs as Hydra does, and those that differ in numbers of FREE alone from one that it has composed.

    Args:
        config_loader: Hydra's.
        master: the sweep's own config.
    """

    def __init__(self, config_loader: Any, master: DictConfig) -> None:
        self.config_loader, self.master = config_loader, master
        self._parser = OverridesParser.create(config_loader=config_loader)
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """What Hydra's `load_sweep_config` returns.

        Raises:
            HydraException: as Hydra's: a name that does not exist, or a value of another type.
        """
        parsed = self._parser.parse_overrides(list(overrides))
        key = tuple(f"{o.key_or_group}=*" if _is_free(o) else o.input_line for o in parsed)
        if key not in self._composed:
            self._composed[key] = self.config_loader.load_sweep_config(self.master, list(overrides))
            return copy.deepcopy(self._composed[key])
        composed = copy.deepcopy(self._composed[key])
        try:
            for override in filter(_is_free, parsed):
                OmegaConf.update(composed, override.key_or_group, override.value())
        except OmegaConfBaseException:  # a value of another type, which Hydra refuses in its own words
            return self.config_loader.load_sweep_config(self.master, list(overrides))
        of_sweep = OmegaConf.to_container(self.master.hydra.overrides.hydra)
        composed.hydra.overrides.hydra = of_sweep + [o.input_line for o in parsed if o.is_hydra_override()]
        of_job = [o for o in parsed if not o.is_hydra_override()]
        composed.hydra.overrides.task = [o.input_line for o in of_job]
        composed.hydra.job.override_dirname = _override_dirname(of_job, composed.hydra.job.config.override_dirname)
        return composed


def _is_free(override: Override) -> bool:
    plain = override.type is OverrideType.CHANGE and override.package is None
    number = isinstance(override.value(), int | float) and not isinstance(override.value(), bool)
    return plain and number and override.key_or_group in FREE


def _override_dirname(overrides: Sequence[Override], settings: DictConfig) -> str:
    """Name a job by its overrides, as Hydra documents hydra.job.override_dirname."""
    lines = sorted(o.input_line for o in overrides if o.key_or_group not in settings.exclude_keys)
    return settings.item_sep.join(lines).replace("=", settings.kv_sep)
