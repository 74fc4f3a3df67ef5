"""What hydra/launcher=stacked does: prepare the jobs as Hydra does, train stacks of them, and the others one by one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, configure_log, filter_overrides, run_job
from omegaconf import DictConfig, OmegaConf, open_dict

from safe_exp.config import TrainConfig, typed_config
from safe_exp.runs.processes import is_first_process
from safe_exp.runs.sigterm import sigterm_as_exit
from safe_exp.sweep.composing import Composer
from safe_exp.sweep.stacked.grouping import reason_to_run_alone, stacks
from safe_exp.system.errors import first_line
from safe_exp.system.versions import running_code
from safe_exp.training.checks import check_config

log = logging.getLogger(__name__)

MOST_RANGES = 8  # in a line of the terminal
WRITING_SECONDS = 1.0  # between two looks at the writers at the end


class Launch:
    """One call of the launcher.

    Args:
        launcher: has Hydra's `hydra_context`, the `task_function` that runs a job, and the `config` of the sweep.
        most_runs: of a stack.
        writers: processes that write the files of jobs that have ended; None: one for each core.
    """

    def __init__(self, launcher: Any, most_runs: int, writers: int | None) -> None:
        self.launcher = launcher
        self.most_runs, self.writers = most_runs, writers or os.cpu_count() or 1

    def run(self, jobs: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Run the jobs, given by their overrides; returns what became of each, in their order."""
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
        groups = [[members[i] for i in group] for group in stacks([typed[n] for n in members], self.most_runs)]
        for group in [group for group in groups if len(group) == 1]:
            reasons[group[0]] = "no other job is like it"
            groups.remove(group)
        self._announce(groups, reasons)
        returned: dict[int, JobReturn] = {}
        if groups:
            returned |= self._run_stacks([[(n, composed[n], typed[n]) for n in group] for group in groups])
        for number in sorted(reasons):
            log.info("#%d : %s", number, " ".join(filter_overrides(jobs[number - first])))
            returned[number] = self._run(composed[number], self.launcher.task_function)
            configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        return [returned[number] for number in sorted(returned)]

    def _run(
        self, composed: DictConfig, task: Callable[[DictConfig], Any], configure_logging: bool = True
    ) -> JobReturn:
        """Let Hydra make the job's folder, with what it keeps of the config, and run `task` there."""
        return run_job(
            hydra_context=self.launcher.hydra_context,
            task_function=task,
            config=composed,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            configure_logging=configure_logging,
        )

    def _run_stacks(self, groups: list[list[tuple[int, DictConfig, TrainConfig]]]) -> dict[int, JobReturn]:
        """Train one stack after the other, while others write what the last one has left."""
        from safe_exp.sweep.stacked.ending import Writers
        from safe_exp.sweep.stacked.job import StackedJob
        from safe_exp.sweep.stacked.progress import StackProgress
        from safe_exp.sweep.stacked.training import (
            train_stack,  # also for the writers, which are forked from this process
        )

        first = groups[0][0]
        configure_log(first[1].hydra.job_logging, first[1].hydra.verbose)
        progress = StackProgress(sum(len(group) for group in groups), first[2].trainer.enable_progress_bar is not False)
        code, returned, begun = running_code(), {}, []
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
                    HydraConfig.instance().set_config(group[0][1])
                    if jobs:
                        train_stack(jobs, pool, progress)
                _write_the_rest(pool, progress)
        except BaseException as error:
            try:
                log.warning("Stopping: what the runs have reached is being written. Again Ctrl-C leaves that out.")
                _write_the_rest(pool, progress)
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
        for group in groups:
            log.info("Stacked: %d jobs, %s", len(group), _ranges(group))
        for reason in dict.fromkeys(reasons.values()):
            alone = [number for number, found in reasons.items() if found == reason]
            log.info("One by one: %s (%s)", _ranges(alone), reason)


def _compose(composer: Composer, overrides: Sequence[str], number: int) -> DictConfig:
    """As Hydra's BasicLauncher does."""
    composed = composer.compose(overrides)
    with open_dict(composed):
        composed.hydra.job.id = number
        composed.hydra.job.num = number
    return composed


def _typed(composed: DictConfig) -> tuple[TrainConfig | None, str | None]:
    """The job's typed config, and why it runs alone."""
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
    try:
        config = typed_config(plain)
        if not isinstance(config, TrainConfig):
            return None, "only the jobs of safe_exp.train are stacked"
        check_config(config)
    except Exception as error:  # its own run says it again, and records it
        return None, first_line(error)
    return config, reason_to_run_alone(config)


def _write_the_rest(pool: Any, progress: Any) -> None:
    """Wait until the writers are done."""
    while pool.waiting:
        progress.closed(pool.close_what_is_written(timeout=WRITING_SECONDS))


def _ranges(numbers: Sequence[int]) -> str:
    """#0-4, #7"""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    shown = [f"#{a}" if a == b else f"#{a}-{b}" for a, b in found[:MOST_RANGES]]
    return ", ".join([*shown, "…"] if len(found) > MOST_RANGES else shown)
