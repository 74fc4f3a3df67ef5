"""The folder of a stacked job as Hydra makes it, with the job's settings in .hydra."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from safe_exp.sweep.compat import yaml_dumper
from safe_exp.sweep.launching import place_of


def open_job(composed: DictConfig) -> JobReturn:
    """Make the folder of a composed job, and write its .hydra, as Hydra's `run_job` does before it calls the task.

    `run_job` copies the config five times, which takes longer than the job's share of the training. Jobs with
    hydra.callbacks, hydra.job.env_set or hydra.job.chdir, which `run_job` obeys, are not stacked.

    Args:
        composed: of the job; hydra.runtime.output_dir is set in it.
    Returns:
        The job's result, which has no status yet; its `hydra_cfg` is `composed`.
    """
    folder = place_of(composed)
    with read_write(composed.hydra.runtime), open_dict(composed.hydra.runtime):
        composed.hydra.runtime.output_dir = str(folder)
    plain = cast(dict[str, Any], OmegaConf.to_container(composed, enum_to_str=True))
    hydra = plain.pop("hydra")
    folder.mkdir(parents=True, exist_ok=True)
    subdir = composed.hydra.output_subdir
    if subdir is not None:
        settings = folder / subdir
        settings.mkdir(exist_ok=True)
        _write_yaml(settings / "config.yaml", plain)
        _write_yaml(settings / "hydra.yaml", {"hydra": hydra})
        _write_yaml(settings / "overrides.yaml", hydra["overrides"]["task"])  # last: `is_run` looks for it
    return JobReturn(list(hydra["overrides"]["task"]), None, composed, os.getcwd(), composed.hydra.job.name)


def _write_yaml(path: Path, content: Any) -> None:
    """Write plain values as OmegaConf.to_yaml writes them."""
    written = yaml.dump(content, default_flow_style=False, allow_unicode=True, sort_keys=False, Dumper=yaml_dumper())
    path.write_text(written, encoding="utf-8")
