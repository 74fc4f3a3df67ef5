"""What the terminal shows of a stack: one bar for all of its runs, and a line for each job that ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from safe_exp.sweep.stacked.job import StackedJob
from safe_exp.system.terminal import Display

log = logging.getLogger(__name__)


class StackProgress:
    """A bar on a terminal, else a log line every few seconds.

    Args:
        jobs: in all stacks together.
        shown: whether there is a bar or such lines; trainer.enable_progress_bar.
    """

    def __init__(self, jobs: int, shown: bool = True, console: Console | None = None) -> None:
        self.jobs, self.shown = jobs, shown
        self.written = 0
        self._running = 0
        self._display = Display(log, console)

    def begin(self, runs: int, steps: int | None) -> None:
        """A stack of so many runs begins, of at most so many steps."""
        self._running, self._done, self._total = runs, 0, steps
        if self.shown:
            self._display.start(self._description(), steps)

    def step(self) -> None:
        self._done += 1
        if self.shown and self._display.due():
            of_total = f"/{self._total}" if self._total else ""
            line = f"{self._description()}, step {self._done}{of_total}, {self._display.seconds():.0f} s"
            self._display.show(self._done, line, description=self._description())

    def ended(self, job: StackedJob, metrics: Mapping[str, Any], score: float) -> None:
        """A run has been trained and scored; its files are being written."""
        self._running -= 1
        course = f"{metrics['epochs']} epochs ({metrics['stopped_by']})"
        self._display.say(f"#{job.number} {job.name}: {course}, {job.config.callbacks.monitor} {score:.4f}")

    def closed(self, jobs: Sequence[StackedJob]) -> None:
        """All files of these jobs are there, or they have failed."""
        for job in jobs:
            self.written += 1
            if job.record.state != "finished":
                reason = " ".join((job.record.reason or "").split())
                self._display.say(f"#{job.number} {job.name}: {job.record.state}: {reason}")
        if jobs and self.shown and not self._display.bar and self._display.due():
            self._display.show(self.written, f"{self.written} of {self.jobs} jobs are written.")

    def end(self) -> None:
        """The stack has been trained."""
        self._display.stop()

    def _description(self) -> str:
        return f"{self._running} runs at once"
