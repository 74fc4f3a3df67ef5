"""python -m safe_exp.train: train one run, or with -m a sweep."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from safe_exp.cli.late_dynamo import put_off_dynamo
from safe_exp.cli.lean_imports import import_lightning, lasting_imports
from safe_exp.cli.mistakes import user_errors_as_messages
from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.run_command import run_command
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.runs.folder import locked_folder, require_new_folder
from safe_exp.runs.job import recorded
from safe_exp.runs.job_outcome import MULTIRUN, read_job
from safe_exp.runs.loggers import require_known_loggers
from safe_exp.runs.names import sweep_name
from safe_exp.runs.own_command import run_as_its_own_command
from safe_exp.runs.processes import in_multirun, is_first_process, needs_a_command_of_its_own, note_processes
from safe_exp.runs.resume import resumed_config
from safe_exp.runs.settings import restore_earlier_defaults
from safe_exp.sweep.command_line import expand_resume_sweep
from safe_exp.system.files import short_path
from safe_exp.system.yaml_files import read_yaml

if TYPE_CHECKING:
    from safe_exp.api.training_run import TrainingRun

log = logging.getLogger(__name__)

register_schemas()
register_resolvers()


@hydra.main(**VERSION_BASE, config_path=str(CONF), config_name="train")
@user_errors_as_messages
def main(composed: DictConfig) -> float:
    """Run one job, alone or of a sweep, and return the validation score that a sweep compares."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    if composed.resume is not None:
        composed = resumed_config(Path(composed.resume), "train")
    else:
        restore_earlier_defaults(composed, read_yaml(folder.parent / MULTIRUN))
    note_processes(composed.trainer)
    if composed.resume is None:
        require_new_folder(folder)
    if needs_a_command_of_its_own(composed.trainer):
        return run_as_its_own_command(composed, folder)
    with locked_folder(folder):
        if composed.resume is None and sweep_name(folder):
            job = read_job(folder, 0, [])
            if job.state == "finished":  # its sweep was resumed while this job waited in a cluster's queue
                log.info("%s has finished already, and is left alone.", short_path(folder))
                return job.score(composed.callbacks.monitor)
        with recorded(folder):
            config = typed_config(composed)
            if config.extras.print_config and is_first_process():
                print(OmegaConf.to_yaml(composed, resolve=True), end="")
            require_known_loggers(config.logger)
            put_off_dynamo()  # building an optimiser, as the checks do, would load it
            with lasting_imports():
                from safe_exp.training.checks import check_config  # torch takes a second to import; --help does without

                check_config(config)
                import_lightning()  # takes seconds; a wrong setting is told before
                from safe_exp.data.prepared.shared import share_between_jobs
                from safe_exp.training.run import train

            share_between_jobs(in_multirun())
            return train(config, folder)


class _Callable(ModuleType):
    """This module as a function: `safe_exp.train([…])`, also after `import safe_exp.train`, which binds that name."""

    def __call__(
        self, overrides: Sequence[str] = (), *, folder: str | PathLike[str] | None = None, show: bool = True
    ) -> TrainingRun:
        """Train one run and wait for its end, see `safe_exp.api.training_run.train`."""
        from safe_exp.api.training_run import train

        return train(overrides, folder=folder, show=show)


GROUPS = [
    "model",
    "data",
    "captioner",
    "vectors",
    "optimizer",
    "scheduler",
    "trainer",
    "logger",
    "experiment",
    "debug",
    "sweep",
]

if __name__ != "__main__":
    sys.modules[__name__].__class__ = _Callable
else:
    sys.argv[1:] = expand_resume_sweep(sys.argv[1:])
    run_command(main, "train", "Train SAFE, once or as a sweep; with no arguments on built-in articles.", GROUPS)
