"""The launcher hydra/launcher=stacked: composes the jobs, trains stacks of them, and runs the others one by one."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, configure_log, filter_overrides
from omegaconf import DictConfig

from safe_exp.config import TrainConfig, typed_config
from safe_exp.runs.job_outcome import MULTIRUN
from safe_exp.runs.processes import is_first_process
from safe_exp.runs.settings import restore_earlier_defaults
from safe_exp.sweep.compat import without
from safe_exp.sweep.composing import Composer
from safe_exp.sweep.launching import PluginLauncher, place_of, run_composed
from safe_exp.sweep.stacked.grouping import StackMember, divide_stacks, form_stacks, reason_to_run_alone
from safe_exp.sweep.stacked.processes import count_processes, run_in_processes
from safe_exp.sweep.stacked.progress import StackProgress
from safe_exp.system.errors import first_line
from safe_exp.system.yaml_files import read_yaml
from safe_exp.training.checks import check_config

log = logging.getLogger(__name__)

MAX_RANGES = 8  # of job numbers, in one log line


class StackedLaunch:
    """One call of the launcher.

    Args:
        launcher: Hydra's plugin, set up.
        most_runs: in one stack; None: as `form_stacks` says.
        writers: processes that write the files of ended jobs; None: one for each core.
        processes: that train stacks; None: as `count_processes` says.
    """

    def __init__(
        self, launcher: PluginLauncher, most_runs: int | None, writers: int | None, processes: int | None = None
    ) -> None:
        self.launcher, self.processes = launcher, processes
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
        then = read_yaml(Path(str(config.hydra.sweep.dir), MULTIRUN))
        composer = Composer(self.launcher.hydra_context.config_loader, config)
        for number, overrides in enumerate(jobs, start=first):
            composed[number] = composer.compose_job(overrides, number)
            typed[number], reason = _typed(composed[number], then)
            if reason is not None:
                reasons[number] = reason
        members = [number for number in composed if number not in reasons]
        groups = [[members[i] for i in group] for group in form_stacks([typed[n] for n in members], self.most_runs)]
        for group in [group for group in groups if len(group) == 1]:
            reasons[group[0]] = "no other job is like it"
            groups.remove(group)
        processes = count_processes(self.processes, [typed[n] for group in groups for n in group])
        groups = divide_stacks(groups, {n: typed[n].seed for group in groups for n in group}, processes)
        processes = min(processes, len(groups))
        self._announce(groups, reasons, processes)
        returned: dict[int, JobReturn] = {}
        if groups:
            returned |= self._run_stacks(groups, composed, typed, processes)
        for number in sorted(reasons):
            log.info("#%d : %s", number, " ".join(filter_overrides(jobs[number - first])))
            callbacks = self.launcher.hydra_context.callbacks
            returned[number] = run_composed(composed[number], self.launcher.task_function, callbacks)
            configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        return [returned[number] for number in sorted(returned)]

    def _run_stacks(
        self,
        groups: Sequence[Sequence[int]],
        composed: Mapping[int, DictConfig],
        typed: Mapping[int, TrainConfig],
        processes: int,
    ) -> dict[int, JobReturn]:
        """Train the stacks, given by the numbers of their jobs, and return the result of each job."""
        first = groups[0][0]
        configure_log(composed[first].hydra.job_logging, composed[first].hydra.verbose)
        shown = typed[first].trainer.enable_progress_bar is not False
        progress = StackProgress(sum(len(group) for group in groups), shown)
        stacks = [[StackMember(n, composed[n], typed[n]) for n in group] for group in groups]
        if processes > 1:
            return run_in_processes(stacks, processes, self.launcher, self.writers, progress)
        from safe_exp.sweep.stacked.running import run_stacks  # imports Lightning

        return run_stacks(stacks, self.writers, progress)

    def _announce(self, groups: list[list[int]], reasons: dict[int, str], processes: int) -> None:
        """Log the jobs of each stack, and those that run alone with the reason."""
        for group in groups:
            log.info("Stacked: %d jobs, %s", len(group), _ranges(group))
        if processes > 1:
            log.info("%d stacks at a time, each in a process of its own.", processes)
        for reason in dict.fromkeys(reasons.values()):
            alone = [number for number, found in reasons.items() if found == reason]
            log.info("One by one: %s (%s)", _ranges(alone), reason)


def _typed(composed: DictConfig, then: Mapping[str, Any]) -> tuple[TrainConfig | None, str | None]:
    """Read the typed config of a job, and the reason why it runs alone.

    Args:
        then: the settings that the sweep was started with; empty for a new one.
    Returns:
        The config and None, or a reason; beside a reason the config may be None.
    """
    if not is_first_process():
        return None, "a further process of a job"
    if composed.hydra.callbacks or composed.hydra.job.env_set or composed.hydra.job.chdir:
        return None, "hydra.callbacks, hydra.job.env_set or hydra.job.chdir is set"
    if (place_of(composed) / "checkpoints" / "last.ckpt").exists():
        return None, "it goes on from its last checkpoint"
    try:
        with without(composed, "hydra"):
            config = typed_config(composed)
        if not isinstance(config, TrainConfig):
            return None, "only the jobs of safe_exp.train are stacked"
        restore_earlier_defaults(config, then)
        check_config(config)
    except Exception as error:  # raised again, and recorded, when the job runs alone
        return None, first_line(error)
    return config, reason_to_run_alone(config)


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
