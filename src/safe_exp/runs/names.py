"""Names of a job and of its sweep, by which loggers show and group runs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from safe_exp.system.yaml_files import read_yaml

PLACES = ("data.root=", "data.val_root=", "data.test_root=", "resume=")  # overrides that say nothing about the job


def job_name(folder: Path) -> str:
    """Name the job in `folder` by the overrides it was started with, or by the date and time of its folder."""
    return name_job(_hydra_config_at_start(folder))


def sweep_name(folder: Path) -> str | None:
    """Name the sweep of the job in `folder` by the sweep's folder; None where the job was started alone."""
    return name_sweep(_hydra_config_at_start(folder))


def name_job(hydra_config: Any) -> str:
    """Compute `job_name` from Hydra's own config of the job."""
    overrides = [o for o in hydra_config.overrides.task if not o.startswith(PLACES)]
    return " ".join(overrides) or "-".join(Path(hydra_config.runtime.output_dir).parts[-2:])


def name_sweep(hydra_config: Any) -> str | None:
    """Compute `sweep_name` from Hydra's own config of the job."""
    if hydra_config.mode not in ("MULTIRUN", RunMode.MULTIRUN):
        return None
    subdir = cast("dict[str, str]", OmegaConf.to_container(hydra_config.sweep, resolve=False))["subdir"]
    depth = len(Path(subdir).parts)
    return "-".join(Path(hydra_config.runtime.output_dir).parents[depth - 1].parts[-2:])


def _hydra_config_at_start(folder: Path) -> Any:
    """Read Hydra's own config of the command that started the run in `folder`; in a new folder, of this command."""
    stored = folder / ".hydra" / "hydra.yaml"
    try:
        changed = stored.stat().st_mtime_ns
    except OSError:
        return HydraConfig.get()
    return _read_names(stored, changed)


@lru_cache(maxsize=1)  # a job asks five times, and its file is long
def _read_names(stored: Path, changed: int) -> Any:
    """Read the sections of a stored hydra.yaml that name a job; `changed` is its modification time."""
    hydra = read_yaml(stored).get("hydra") or {}
    return OmegaConf.create({name: hydra.get(name) for name in ("mode", "overrides", "runtime", "sweep")})
