"""The launcher hydra/launcher=stacked: composes the jobs, trains stacks of them, and runs the others one by one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, configure_log, filter_overrides, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from safe_exp.config import TrainConfig, typed_config
from safe_exp.runs.job_outcome import MULTIRUN
from safe_exp.runs.processes import is_first_process
from safe_exp.runs.settings import restore_earlier_defaults
from safe_exp.runs.sigterm import sigterm_as_exit
from safe_exp.sweep.composing import Composer
from safe_exp.sweep.stacked.grouping import form_stacks, reason_to_run_alone
from safe_exp.system.errors import first_line
from safe_exp.system.versions import running_code
from safe_exp.system.yaml_files import read_yaml
from safe_exp.training.checks import check_config

if TYPE_CHECKING:  # they import Lightning, which a launch without stacks does not need
    from safe_exp.sweep.stacked.ending import Writers
    from safe_exp.sweep.stacked.job import StackedJob
    from safe_exp.sweep.stacked.progress import StackProgress

log = logging.getLogger(__name__)

MAX_RANGES = 8  # of job numbers, in one log line
WAIT_SECONDS = 1.0  # between two checks of the writers at the end


class PluginLauncher(Protocol):
    """The part of hydra_plugins.safe_exp_stacked.StackedLauncher that a launch needs."""

    hydra_context: HydraContext
    task_function: TaskFunction  # runs one job
    config: DictConfig  # of the sweep


class _StackMember(NamedTuple):
    """One job of a stack before it starts."""

    number: int  # in the sweep
    composed: DictConfig
    typed: TrainConfig


class StackedLaunch:
    """One call of the launcher.

    Args:
        launcher: Hydra's plugin, set up.
        most_runs: in one stack.
        writers: processes that write the files of ended jobs; None: one for each core.
    """

    def __init__(self, launcher: PluginLauncher, most_runs: int, writers: int | None) -> None:
        self.launcher = launcher
        self.most_runs, self.writers = most_runs, writers or os.cpu_count() or 1

    def run(self, jobs: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Run the jobs and return their results, in their order.

        Args:
            jobs: the overrides of each.
            first: number of the first job in the sweep.
        Raises:
            SystemExit: the stacks were interrupted.
        """
        config = self.launcher.config
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        composed, typed, reasons = {}, {}, {}
        composer = Composer(self.launcher.hydra_context.config_loader, config)
        for number, overrides in enumerate(jobs, start=first):
            composed[number] = _compose(composer, overrides, number)
            typed[number], reason = _typed(composed[number])
            if reason is not None:
                reasons[number] = reason
        members = [number for number in composed if number not in reasons]
        groups = [[members[i] for i in group] for group in form_stacks([typed[n] for n in members], self.most_runs)]
        for group in [group for group in groups if len(group) == 1]:
            reasons[group[0]] = "no other job is like it"
            groups.remove(group)
        self._announce(groups, reasons)
        returned: dict[int, JobReturn] = {}
        if groups:
            returned |= self._run_stacks([[_StackMember(n, composed[n], typed[n]) for n in group] for group in groups])
        for number in sorted(reasons):
            log.info("#%d : %s", number, " ".join(filter_overrides(jobs[number - first])))
            returned[number] = self._run(composed[number], self.launcher.task_function)
            configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        return [returned[number] for number in sorted(returned)]

    def _run(
        self, composed: DictConfig, task: Callable[[DictConfig], Any], configure_logging: bool = True
    ) -> JobReturn:
        """Let Hydra create the job's folder and its .hydra, and run `task` there."""
        return run_job(
            hydra_context=self.launcher.hydra_context,
            task_function=task,
            config=composed,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            configure_logging=configure_logging,
        )

    def _run_stacks(self, groups: list[list[_StackMember]]) -> dict[int, JobReturn]:
        """Train one stack after the other, while other processes write the files of ended jobs.

        Returns:
            The result of each job, by number.
        Raises:
            SystemExit: Ctrl-C; what the runs have reached has been written.
        """
        from safe_exp.sweep.stacked.ending import Writers
        from safe_exp.sweep.stacked.job import StackedJob
        from safe_exp.sweep.stacked.progress import StackProgress
        from safe_exp.sweep.stacked.training import train_stack  # now, so that forked writers need not import it

        first = groups[0][0]
        configure_log(first.composed.hydra.job_logging, first.composed.hydra.verbose)
        shown = first.typed.trainer.enable_progress_bar is not False
        progress = StackProgress(sum(len(group) for group in groups), shown)
        code = running_code()
        returned: dict[int, JobReturn] = {}
        begun: list[StackedJob] = []
        pool = Writers(self.writers)
        before = HydraConfig.instance().cfg
        try:
            with sigterm_as_exit():
                for group in groups:
                    jobs = []
                    for number, composed, typed in group:
                        prepared = returned[number] = self._run(composed, lambda _: None, configure_logging=False)
                        job = StackedJob(number, prepared, typed, prepared.hydra_cfg.hydra)
                        try:
                            job.begin(code)
                        except Exception as error:  # the folder is in use
                            job.failed(error)
                        else:
                            jobs.append(job)
                            begun.append(job)
                    HydraConfig.instance().set_config(group[0].composed)
                    if jobs:
                        train_stack(jobs, pool, progress)
                _finish_writing(pool, progress)
        except BaseException as error:
            try:
                log.warning("Stopping: the files of the runs are being written. Press Ctrl-C again to skip that.")
                _finish_writing(pool, progress)
            finally:
                pool.give_up(error)
                for job in begun:
                    if job.record.state == "running":
                        job.failed(error)
            if isinstance(error, KeyboardInterrupt):
                raise SystemExit(130) from None
            raise
        finally:
            HydraConfig.instance().cfg = before
            pool.shutdown()
        return returned

    def _announce(self, groups: list[list[int]], reasons: dict[int, str]) -> None:
        """Log the jobs of each stack, and those that run alone with the reason."""
        for group in groups:
            log.info("Stacked: %d jobs, %s", len(group), _ranges(group))
        for reason in dict.fromkeys(reasons.values()):
            alone = [number for number, found in reasons.items() if found == reason]
            log.info("One by one: %s (%s)", _ranges(alone), reason)


def _compose(composer: Composer, overrides: Sequence[str], number: int) -> DictConfig:
    """Compose a job as Hydra's BasicLauncher does."""
    composed = composer.compose(overrides)
    with open_dict(composed):
        composed.hydra.job.id = str(number)
        composed.hydra.job.num = number
    return composed


def _typed(composed: DictConfig) -> tuple[TrainConfig | None, str | None]:
    """Read the typed config of a job, and the reason why it runs alone.

    Returns:
        The config and None, or a reason; beside a reason the config may be None.
    """
    if not is_first_process():
        return None, "a further process of a job"
    if composed.hydra.callbacks or composed.hydra.job.env_set or composed.hydra.job.chdir:
        return None, "hydra.callbacks, hydra.job.env_set or hydra.job.chdir is set"
    folder = Path(composed.hydra.sweep.dir) / str(OmegaConf.select(composed, "hydra.sweep.subdir"))
    if (folder / "checkpoints" / "last.ckpt").exists():
        return None, "it goes on from its last checkpoint"
    plain = composed.copy()
    with open_dict(plain):
        del plain["hydra"]
    restore_earlier_defaults(plain, read_yaml(folder.parent / MULTIRUN))
    try:
        config = typed_config(plain)
        if not isinstance(config, TrainConfig):
            return None, "only the jobs of safe_exp.train are stacked"
        check_config(config)
    except Exception as error:  # raised again, and recorded, when the job runs alone
        return None, first_line(error)
    return config, reason_to_run_alone(config)


def _finish_writing(pool: Writers, progress: StackProgress) -> None:
    """Wait until the writers are done, and close their jobs."""
    while pool.waiting:
        progress.closed(pool.close_written(timeout=WAIT_SECONDS))


def _ranges(numbers: Sequence[int]) -> str:
    """Write numbers as ranges, such as "#0-4, #7"."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    shown = [f"#{a}" if a == b else f"#{a}-{b}" for a, b in found[:MAX_RANGES]]
    return ", ".join([*shown, "…"] if len(found) > MAX_RANGES else shown)
