"""Progress of a stack on the terminal: one bar for all of its runs, and a line for each job that ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from safe_exp.sweep.stacked.job import StackedJob
from safe_exp.system.terminal import Display

log = logging.getLogger(__name__)


class StackProgress:
    """Shows a bar on a terminal, else a log line every few seconds.

    Args:
        jobs: number of jobs in all stacks together.
        shown: trainer.enable_progress_bar; without it only the lines of ended jobs are shown.
        console: of the bar; standard error unless given.
    """

    def __init__(self, jobs: int, shown: bool = True, console: Console | None = None) -> None:
        self.jobs, self.shown = jobs, shown
        self.written = 0
        self._running = 0
        self._display = Display(log, console)

    def begin(self, runs: int, steps: int | None) -> None:
        """Start to show a stack.

        Args:
            runs: number of them.
            steps: the most that they take; None: no limit.
        """
        self._running, self._done, self._total = runs, 0, steps
        if self.shown:
            self._display.start(self._description(), steps)

    def step(self) -> None:
        """Count one step of all runs."""
        self._done += 1
        if self.shown and self._display.due():
            total = f"/{self._total}" if self._total else ""
            line = f"{self._description()}, step {self._done}{total}, {self._display.seconds():.0f} s"
            self._display.show(self._done, line, description=self._description())

    def ended(self, job: StackedJob, metrics: Mapping[str, Any], score: float) -> None:
        """Show that a run has been trained and scored.

        Args:
            job: of the run; its files are being written.
            metrics: with `epochs` and `stopped_by` of metrics.json.
            score: the monitored figure of validation.
        """
        self._running -= 1
        course = f"{metrics['epochs']} epochs ({metrics['stopped_by']})"
        self._display.say(f"#{job.number} {job.name}: {course}, {job.config.callbacks.monitor} {score:.4f}")

    def closed(self, jobs: Sequence[StackedJob]) -> None:
        """Count jobs whose files have been written, and show those that did not finish."""
        for job in jobs:
            self.written += 1
            if job.record.state != "finished":
                reason = " ".join((job.record.reason or "").split())
                self._display.say(f"#{job.number} {job.name}: {job.record.state}: {reason}")
        if jobs and self.shown and not self._display.bar and self._display.due():
            self._display.show(self.written, f"{self.written} of {self.jobs} jobs are written.")

    def end(self) -> None:
        """Remove the bar of a stack that has been trained."""
        self._display.stop()

    def _description(self) -> str:
        return f"{self._running} runs at once"
