"""Resolvers: functions that conf/ calls as ${name:arguments}."""

from __future__ import annotations

from pathlib import Path

from safe_exp.config.hydra_versions import register_resolver
from safe_exp.runs.folder import is_run, is_taken
from safe_exp.runs.slurm_request import count_gpus, count_nodes, count_tasks
from safe_exp.runs.stored_config import register_one_minus

RESUME_FOLDER = ".hydra/resumed"  # where Hydra notes the command that resumed a run; .hydra itself stays as it was


def register_resolvers() -> None:
    """Register the functions that conf/ needs.

    These are folders of new and resumed runs, 1 - x (conf/sweep/alpha.yaml), and a job's request to SLURM.
    """
    register_one_minus()
    register_resolver("made_folder", _made_folder, replace=True)
    register_resolver("run_folder", lambda resume, new: resume if is_run(resume) else new, replace=True)
    register_resolver("hydra_folder", _hydra_folder, replace=True)
    register_resolver("slurm_nodes", lambda *, _root_: count_nodes(_root_), replace=True)
    register_resolver("slurm_tasks", lambda *, _root_: count_tasks(_root_), replace=True)
    register_resolver("slurm_gpus", lambda *, _root_, _parent_: count_gpus(_root_, _parent_), replace=True)


def _made_folder(path: str) -> str:
    """Make a folder and return its path: a sweeper's database needs it before the sweep begins."""
    Path(path).mkdir(parents=True, exist_ok=True)
    return path


def _hydra_folder(resume: str | None, output_folder: str | None = None) -> str:
    """Return the subfolder for Hydra's notes: .hydra, or RESUME_FOLDER where an earlier start has left its own."""
    return RESUME_FOLDER if is_run(resume) or (output_folder and is_taken(Path(output_folder))) else ".hydra"
