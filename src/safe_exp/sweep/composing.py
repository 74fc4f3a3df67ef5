"""Composes the configs of a sweep's jobs.

Hydra takes an eighth of a second for each; most jobs of a sweep differ in a few numbers alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

# Keys of numbers that select no other config, so that they can be set in a config that is already composed.
FREE_KEYS = ("model.alpha", "model.beta", "model.gamma", "seed", "hydra.sweep.subdir")


class Composer:
    """Composes jobs as Hydra does; a job that differs from an earlier one in FREE_KEYS alone is made from that one.

    Args:
        config_loader: Hydra's.
        master: the config of the sweep itself.
    """

    def __init__(self, config_loader: Any, master: DictConfig) -> None:
        self.config_loader, self.master = config_loader, master
        self._parser = OverridesParser.create(config_loader=config_loader)
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def compose_job(self, overrides: Sequence[str], number: int) -> DictConfig:
        """Compose job `number` of a sweep as Hydra's BasicLauncher does; otherwise as `compose`."""
        composed = self.compose(overrides)
        with open_dict(composed):
            composed.hydra.job.id = str(number)
            composed.hydra.job.num = number
        return composed

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Compose one job; the result equals that of Hydra's `load_sweep_config`.

        Args:
            overrides: of the job.
        Raises:
            HydraException: as Hydra raises it, for a name that does not exist or a value of the wrong type.
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
        except OmegaConfBaseException:  # a value of the wrong type; Hydra raises its own error
            return self.config_loader.load_sweep_config(self.master, list(overrides))
        sweep_overrides = cast(list[str], OmegaConf.to_container(self.master.hydra.overrides.hydra))
        composed.hydra.overrides.hydra = sweep_overrides + [o.input_line for o in parsed if o.is_hydra_override()]
        task_overrides = [o for o in parsed if not o.is_hydra_override()]
        composed.hydra.overrides.task = [o.input_line for o in task_overrides]
        job = composed.hydra.job
        if not OmegaConf.is_interpolation(job, "override_dirname"):  # one in Hydra 1.4, which computes it when asked
            job.override_dirname = _override_dirname(task_overrides, job.config.override_dirname)
        return composed


def _is_free(override: Override) -> bool:
    """Tell whether an override sets one of FREE_KEYS to a number."""
    plain = override.type is OverrideType.CHANGE and override.package is None
    number = isinstance(override.value(), int | float) and not isinstance(override.value(), bool)
    return plain and number and override.key_or_group in FREE_KEYS


def _override_dirname(overrides: Sequence[Override], settings: DictConfig) -> str:
    """Join a job's overrides into a name, as Hydra documents for hydra.job.override_dirname."""
    lines = sorted(o.input_line for o in overrides if o.key_or_group not in settings.exclude_keys)
    return settings.item_sep.join(lines).replace("=", settings.kv_sep)
