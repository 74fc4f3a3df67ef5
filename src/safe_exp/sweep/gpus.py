"""The launcher hydra/launcher=gpus: as many jobs at a time as there are GPUs, or a few on each GPU."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides
from omegaconf import DictConfig, OmegaConf

from safe_exp.runs.job_outcome import read_job
from safe_exp.sweep.composing import Composer
from safe_exp.sweep.launching import (
    NamedTask,
    PluginLauncher,
    ProcessSetup,
    failed_job,
    output_to,
    place_of,
    run_composed,
)
from safe_exp.system.errors import UserError, first_line
from safe_exp.system.files import short_path
from safe_exp.system.workers import Send, run_in_workers

log = logging.getLogger(__name__)

OUTPUT = Path("logs", "output.log")  # in a job's folder: what it would have printed on the terminal
GPU_ACCELERATORS = ("gpu", "cuda", "auto")


class GpuLaunch:
    """One call of the launcher.

    Args:
        launcher: Hydra's plugin, set up.
        jobs_per_gpu: the most jobs that have a GPU at a time.
    """

    def __init__(self, launcher: PluginLauncher, jobs_per_gpu: int) -> None:
        self.launcher, self.jobs_per_gpu = launcher, jobs_per_gpu

    def run(self, jobs: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Run the jobs and return their results, in their order.

        Each takes a lease on its GPUs (`safe_exp.runs.devices`), so that it waits for jobs of other sweeps too.

        Args:
            jobs: the overrides of each.
            first: number of the first job in the sweep.
        Raises:
            UserError: as `count_jobs_at_a_time`.
            KeyboardInterrupt, SystemExit: the sweep was interrupted, and the jobs have been told.
        """
        config = self.launcher.config
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        composer = Composer(self.launcher.hydra_context.config_loader, config)
        composed = [composer.compose_job(overrides, number) for number, overrides in enumerate(jobs, first)]
        at_a_time = min(count_jobs_at_a_time(composed, self.jobs_per_gpu), len(jobs))
        if not jobs:
            return []
        log.info("%d jobs, %d at a time; each prints to %s in its folder.", len(jobs), at_a_time, OUTPUT)
        returned: dict[int, JobReturn] = {}

        def started(position: int) -> None:
            log.info("#%d : %s", first + position, " ".join(filter_overrides(jobs[position])))

        def received(position: int, message: tuple[int, str]) -> None:
            level, line = message
            log.log(level, "#%d : %s", first + position, line)

        def ended(position: int, outcome: Any) -> None:
            error = outcome if isinstance(outcome, BaseException) else None
            returned[position] = outcome if error is None else failed_job(composed[position], error)
            _tell(first + position, composed[position], returned[position], error)

        run = JobRunner(NamedTask.of(self.launcher.task_function), ProcessSetup.of(self.launcher, at_a_time))
        run_in_workers(composed, at_a_time, run, ended, received, started)
        return [returned[position] for position in range(len(jobs))]


def _tell(number: int, composed: DictConfig, result: JobReturn, lost: BaseException | None) -> None:
    """Log the end of a job; `lost` is the error of its process."""
    if result.status is JobStatus.COMPLETED:
        log.info("#%d : finished, %s %.4f", number, composed.callbacks.monitor, result.return_value)
        return
    folder = place_of(composed)
    job = read_job(folder, number, [])
    reason = job.reason if job.state == "failed" or lost is None else first_line(lost)
    log.error("#%d : %s: %s (%s)", number, job.state, reason, short_path(folder / OUTPUT))


@dataclass(frozen=True)
class JobRunner:
    """Runs one job after the other in a process of its own, and sends its warnings to the sweep."""

    task: NamedTask
    setup: ProcessSetup

    def __call__(self, composed: DictConfig, send: Send) -> JobReturn:
        """Run a composed job.

        Args:
            send: takes the level and text of each warning.
        """
        self.setup.apply()
        with output_to(place_of(composed) / OUTPUT):
            task = self.task.find()

            def and_send_warnings(config: DictConfig) -> Any:
                logging.getLogger().addHandler(_Sender(send))  # Hydra has set up the log of this job, and will again
                return task(config)

            return run_composed(composed, and_send_warnings, self.setup.callbacks)


class _Sender(logging.Handler):
    """Sends warnings; not those about the job's end, which the sweep tells."""

    def __init__(self, send: Send) -> None:
        super().__init__(logging.WARNING)
        self.send = send
        self.addFilter(lambda record: record.name != "safe_exp.runs.job")

    def emit(self, record: logging.LogRecord) -> None:
        self.send((record.levelno, record.getMessage()))


def count_jobs_at_a_time(composed: Iterable[DictConfig], jobs_per_gpu: int) -> int:
    """Count the jobs that the visible GPUs have room for at a time.

    Args:
        composed: the config of each job.
    Raises:
        UserError: there is no GPU, jobs do not ask for GPUs by their number, or they ask for more than there are.
    """
    from safe_exp.runs.devices import count_devices

    wanted = {_count_wanted(job) for job in composed}
    gpus = count_devices()
    if gpus == 0:
        raise UserError(
            "hydra/launcher=gpus: no GPU is visible here (PyTorch counts 0; CUDA_VISIBLE_DEVICES chooses among those "
            "of the machine). On the CPU: trainer=cpu hydra/launcher=processes, or hydra/launcher=stacked."
        )
    most = max(wanted, default=1)
    if most > gpus:
        raise UserError(f"trainer.devices={most}: there are {gpus} GPUs. Set trainer.devices={gpus} or fewer.")
    return max((gpus * jobs_per_gpu if count == 1 else gpus // count for count in wanted), default=1)


def _count_wanted(composed: DictConfig) -> int:
    """Count the GPUs that a job asks for.

    Raises:
        UserError: it asks for none, or for other than a number.
    """
    trainer = OmegaConf.select(composed, "trainer")
    if trainer is None or "accelerator" not in trainer:
        raise UserError("hydra/launcher=gpus runs jobs of safe_exp.train. For others: hydra/launcher=processes.")
    if trainer.accelerator not in GPU_ACCELERATORS:
        raise UserError(
            f"hydra/launcher=gpus gives each job a GPU, and these ask for trainer.accelerator={trainer.accelerator}. "
            "Add trainer=gpu; on the CPU take hydra/launcher=processes."
        )
    devices = str(trainer.devices)
    if not devices.isdecimal() or int(devices) == 0:
        raise UserError(
            f"trainer.devices={devices.replace(' ', '')}: hydra/launcher=gpus chooses the GPUs itself, so this must be "
            "their number for each job, as in trainer.devices=1. CUDA_VISIBLE_DEVICES=0,1 leaves the others alone."
        )
    return int(devices)
