"""Progress of stacks on the terminal: one bar for all runs that are trained, and a line for each job that ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console

from safe_exp.sweep.stacked.job import StackedJob
from safe_exp.system.terminal import BAR_SECONDS, Display

log = logging.getLogger(__name__)

STOPPING = "Stopping: the files of the runs are being written. Press Ctrl-C again to skip that."


class _Course(NamedTuple):
    """The course of one stack that is being trained."""

    running: int  # runs
    done: int  # steps
    total: int | None  # steps; None: no limit


class StackProgress:
    """Shows a bar on a terminal, else a log line every few seconds. Stacks may be trained at the same time.

    Args:
        jobs: number of jobs in all stacks together.
        shown: trainer.enable_progress_bar; without it only the lines of ended jobs are shown.
        console: of the bar; standard error unless given.
    """

    def __init__(self, jobs: int, shown: bool = True, console: Console | None = None) -> None:
        self.jobs, self.shown = jobs, shown
        self.written = 0
        self._stopping = False
        self._stacks: dict[int, _Course] = {}  # those that are trained, by a number of their own
        self._display = Display(log, console)

    # ── called by the training of a stack ─────────────────────────────────────────────────────────────────────────────

    def begin(self, runs: int, steps: int | None, stack: int = 0) -> None:
        """Start to show a stack.

        Args:
            runs: number of them.
            steps: the most that they take; None: no limit.
            stack: its number among those that are trained at the same time.
        """
        first = not self._stacks
        self._stacks[stack] = _Course(runs, 0, steps)
        if self.shown and first:
            self._display.start(self._description(), steps)

    def step(self, stack: int = 0, done: int | None = None) -> None:
        """Count one step of all runs, or set the number of them that are done."""
        course = self._stacks[stack]
        self._stacks[stack] = course._replace(done=course.done + 1 if done is None else done)
        if self.shown and self._display.due():
            self._show()

    def ended(self, job: StackedJob, metrics: Mapping[str, Any], score: float) -> None:
        """Show that a run has been trained and scored.

        Args:
            job: of the run; its files are being written.
            metrics: with `epochs` and `stopped_by` of metrics.json.
            score: the monitored figure of validation.
        """
        course = f"{metrics['epochs']} epochs ({metrics['stopped_by']})"
        self.say_ended(f"#{job.number} {job.name}: {course}, {job.config.callbacks.monitor} {score:.4f}")

    def closed(self, jobs: Sequence[StackedJob]) -> None:
        """Count jobs whose files have been written, and show those that did not finish."""
        unfinished = [job for job in jobs if job.record.state != "finished"]
        reasons = [" ".join((job.record.reason or "").split()) for job in unfinished]
        lines = [f"#{job.number} {job.name}: {job.record.state}: {reason}"
                 for job, reason in zip(unfinished, reasons, strict=True)]  # fmt: skip
        if jobs:
            self.say_closed(len(jobs), lines)

    def end(self, stack: int = 0) -> None:
        """Remove a stack that has been trained, and the bar after the last one."""
        self._stacks.pop(stack, None)
        if not self._stacks:
            self._display.stop()

    def stopping(self) -> None:
        """Say that the sweep has been interrupted."""
        if not self._stopping:
            log.warning(STOPPING)
        self._stopping = True

    # ── lines that are ready ──────────────────────────────────────────────────────────────────────────────────────────

    def say_ended(self, line: str, stack: int = 0) -> None:
        """Show that a run has been trained, by `line`."""
        course = self._stacks[stack]
        self._stacks[stack] = course._replace(running=course.running - 1)
        self._display.say(line)

    def say_closed(self, jobs: int, lines: Sequence[str]) -> None:
        """Count jobs whose files have been written, and show a line for each of them that did not finish."""
        self.written += jobs
        for line in lines:
            self._display.say(line)
        if self.shown and not self._display.bar and self._display.due():
            self._display.show(self.written, f"{self.written} of {self.jobs} jobs are written.")

    def _show(self) -> None:
        done = sum(course.done for course in self._stacks.values())
        totals = [course.total for course in self._stacks.values()]
        total = None if None in totals else sum(count or 0 for count in totals)
        line = f"{self._description()}, step {done}{f'/{total}' if total else ''}, {self._display.seconds():.0f} s"
        self._display.show(done, line, description=self._description(), total=total)

    def _description(self) -> str:
        runs = sum(course.running for course in self._stacks.values())
        return f"{runs} runs at once" + (f" in {len(self._stacks)} stacks" if len(self._stacks) > 1 else "")


class SentProgress(StackProgress):
    """The progress of a stack in a process of its own, sent to the launch, which shows it by `show_sent`.

    Args:
        send: takes a method's name and its arguments.
    """

    def __init__(self, send: Callable[[tuple[Any, ...]], None]) -> None:
        super().__init__(0, shown=False)
        self.send = send
        self._done, self._sent = 0, time.monotonic()

    def begin(self, runs: int, steps: int | None, stack: int = 0) -> None:
        self._done = 0
        self.send(("begin", runs, steps))

    def step(self, stack: int = 0, done: int | None = None) -> None:
        self._done += 1
        if time.monotonic() - self._sent >= BAR_SECONDS:
            self._sent = time.monotonic()
            self.send(("step", self._done))

    def end(self, stack: int = 0) -> None:
        self.send(("end",))

    def stopping(self) -> None:
        self.send(("stopping",))

    def say_ended(self, line: str, stack: int = 0) -> None:
        self.send(("say_ended", line))

    def say_closed(self, jobs: int, lines: Sequence[str]) -> None:
        self.send(("say_closed", jobs, lines))


def show_sent(progress: StackProgress, stack: int, message: tuple[Any, ...]) -> None:
    """Show what the SentProgress of a stack has sent."""
    method, *arguments = message
    if method == "begin":
        progress.begin(arguments[0], arguments[1], stack)
    elif method == "step":
        progress.step(stack, arguments[0])
    elif method == "end":
        progress.end(stack)
    elif method == "stopping":
        progress.stopping()
    elif method == "say_ended":
        progress.say_ended(arguments[0], stack)
    elif method == "say_closed":
        progress.say_closed(arguments[0], arguments[1])
