"""The jobs of a launcher: composed in the sweep's process, and run there or in another process."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hydra.core.utils import (
    JobReturn,
    JobRuntime,
    JobStatus,
    configure_log,
    filter_overrides,
    run_job,
    setup_globals,
)
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from safe_exp.sweep.composing import Composer

log = logging.getLogger(__name__)


class PluginLauncher(Protocol):
    """The part of a launcher in hydra_plugins that a launch needs."""

    hydra_context: HydraContext
    task_function: TaskFunction  # runs one job
    config: DictConfig  # of the sweep


def run_composed(
    composed: DictConfig, task: Callable[[DictConfig], Any], callbacks: Any, configure_logging: bool = True
) -> JobReturn:
    """Let Hydra create the folder of a composed job and its .hydra, and run `task` there.

    Args:
        callbacks: Hydra's, of `hydra_context.callbacks`.
    """
    return run_job(
        hydra_context=HydraContext(None, callbacks),  # type: ignore[arg-type]  # nothing is left to compose
        task_function=task,
        config=composed,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        configure_logging=configure_logging,
    )


def launch_one_by_one(
    launcher: PluginLauncher, composer: Composer, jobs: Sequence[Sequence[str]], initial_job_idx: int
) -> list[JobReturn]:
    """Run jobs in this process, one after the other, as Hydra's BasicLauncher does, but composed by `composer`.

    Args:
        launcher: a BasicLauncher, set up.
        jobs: overrides of each job; they are numbered from `initial_job_idx`.
    """
    setup_globals()
    hydra = launcher.config.hydra
    configure_log(hydra.hydra_logging, hydra.verbose)
    log.info("Launching %d jobs locally", len(jobs))
    returned = []
    for number, overrides in enumerate(jobs, initial_job_idx):
        log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
        composed = composer.compose_job(overrides, number)
        returned.append(run_composed(composed, launcher.task_function, launcher.hydra_context.callbacks))
        configure_log(hydra.hydra_logging, hydra.verbose)
    return returned


def failed_job(composed: DictConfig, error: BaseException) -> JobReturn:
    """Make the result of a job whose process ended, or could not return the job's own result."""
    task = composed.copy()
    with open_dict(task):
        del task["hydra"]
    found = JobReturn(list(composed.hydra.overrides.task), task, composed, os.getcwd(), composed.hydra.job.name)
    found.status, found.return_value = JobStatus.FAILED, error
    return found


def place_of(composed: DictConfig) -> Path:
    """Return the folder of a composed job."""
    return Path(str(composed.hydra.sweep.dir), str(composed.hydra.sweep.subdir)).absolute()


@dataclass(frozen=True)
class ProcessSetup:
    """Everything that a process of its own needs before it runs jobs of a sweep; it can be pickled."""

    callbacks: Any  # Hydra's
    program: str  # hydra.job.name
    threads: int  # of PyTorch, for jobs whose config does not say

    @classmethod
    def of(cls, launcher: PluginLauncher, processes: int) -> ProcessSetup:
        """Collect it for `processes` processes, which share the processor's cores."""
        import torch

        cores = torch.get_num_threads()
        return cls(launcher.hydra_context.callbacks, str(launcher.config.hydra.job.name), max(1, cores // processes))

    def apply(self) -> None:
        """Set this process up."""
        import torch

        setup_globals()
        JobRuntime.instance().set("name", self.program)
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(self.threads)


@dataclass(frozen=True)
class NamedTask:
    """The function that hydra.main has decorated, by its name: it cannot be pickled."""

    module: str
    name: str

    @classmethod
    def of(cls, task: TaskFunction) -> NamedTask:
        """Name it."""
        return cls(task.__module__, task.__qualname__)

    def find(self) -> Callable[[DictConfig], Any]:
        """Find it in this process; multiprocessing has imported the command's own module as __main__."""
        found = getattr(importlib.import_module(self.module), self.name)
        return found.__wrapped__


@contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Let everything that this process and its children print within the block go to a file, and nothing elsewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        kept = [(number, os.dup(number)) for number in (1, 2)]
        try:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()  # what was printed before belongs elsewhere
            for number, _ in kept:
                os.dup2(file.fileno(), number)
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for number, before in kept:
                os.dup2(before, number)
                os.close(before)
