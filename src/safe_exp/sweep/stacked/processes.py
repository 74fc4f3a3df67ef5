"""Stacks that are trained at the same time, each in a process of its own, and with trainer=gpu on a GPU of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.utils import JobReturn

from safe_exp.config import TrainConfig
from safe_exp.sweep.gpus import GPU_ACCELERATORS
from safe_exp.sweep.launching import PluginLauncher, ProcessSetup, failed_job
from safe_exp.sweep.stacked.grouping import StackMember
from safe_exp.sweep.stacked.progress import SentProgress, StackProgress, show_sent
from safe_exp.system.workers import Send, run_in_workers

log = logging.getLogger(__name__)


def count_processes(given: int | None, configs: Sequence[TrainConfig]) -> int:
    """Count the processes that train stacks at the same time.

    Args:
        given: hydra.launcher.processes; None: one for each visible GPU if the jobs ask for GPUs, otherwise one.
        configs: of the jobs.
    """
    if given is not None:
        return given
    if not any(config.trainer.accelerator in GPU_ACCELERATORS for config in configs):
        return 1
    from safe_exp.runs.devices import count_devices  # torch takes a second to import

    return max(1, count_devices())


def run_in_processes(
    stacks: Sequence[Sequence[StackMember]],
    processes: int,
    launcher: PluginLauncher,
    writers: int,
    progress: StackProgress,
) -> dict[int, JobReturn]:
    """Train `processes` stacks at a time, the largest ones first.

    Args:
        writers: processes that write files, of all stacks together.
        progress: of all stacks.
    Returns:
        The result of each job, by number. The jobs of a stack whose process was killed have failed.
    Raises:
        KeyboardInterrupt, SystemExit: the sweep was interrupted; what the runs have reached has been written.
    """
    stacks = sorted(stacks, key=len, reverse=True)
    returned: dict[int, JobReturn] = {}

    def received(position: int, message: tuple[Any, ...]) -> None:
        if message[0] == "log":
            logging.getLogger(message[1]).log(*message[2:])
        else:
            show_sent(progress, position, message)

    def ended(position: int, outcome: Any) -> None:
        if isinstance(outcome, BaseException):
            progress.end(position)
            log.error("The stack of %d jobs broke off: %s", len(stacks[position]), outcome)
            outcome = {member.number: failed_job(member.composed, outcome) for member in stacks[position]}
        returned.update(outcome)

    run = StackRunner(ProcessSetup.of(launcher, processes), max(1, writers // processes))
    try:
        run_in_workers(stacks, processes, run, ended, received)
    finally:
        for position in range(len(stacks)):
            progress.end(position)  # also after an interruption
    return returned


@dataclass(frozen=True)
class StackRunner:
    """Trains one stack after the other in a process of its own, and sends log lines and progress to the sweep."""

    setup: ProcessSetup
    writers: int

    def __call__(self, stack: Sequence[StackMember], send: Send) -> dict[int, JobReturn]:
        """Train a stack; `send` takes its progress, and log lines as ("log", logger, level, text)."""
        self.setup.apply()
        root = logging.getLogger()
        root.handlers, before = [_Sender(send)], root.handlers
        root.setLevel(logging.INFO)
        try:
            from safe_exp.sweep.stacked.running import run_stacks  # imports Lightning

            return run_stacks([stack], self.writers, SentProgress(send))
        finally:
            root.handlers = before


class _Sender(logging.Handler):
    """Sends log lines to the process of the sweep."""

    def __init__(self, send: Send) -> None:
        super().__init__(logging.INFO)
        self.send = send

    def emit(self, record: logging.LogRecord) -> None:
        self.send(("log", record.name, record.levelno, "%s", record.getMessage()))
