"""What the terminal shows of a stack: one bar for all of its runs, and a line for each job that ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import Progress

from safe_exp.sweep.stacked.job import StackedJob
from safe_exp.system.terminal import BAR_SECONDS, LINE_SECONDS, bar_on

log = logging.getLogger(__name__)


class StackProgress:
    """A bar on a terminal, else a log line every few seconds.

    Args:
        jobs: in all stacks together.
        shown: whether there is a bar or such lines; trainer.enable_progress_bar.
    """

    def __init__(self, jobs: int, shown: bool = True, console: Console | None = None) -> None:
        self.jobs, self.shown = jobs, shown
        self.console = console or Console(stderr=True)
        self.written = 0
        self._running = 0
        self._bar: Progress | None = None

    def begin(self, runs: int, steps: int | None) -> None:
        """A stack of so many runs begins, of at most so many steps."""
        self._running, self._done, self._total = runs, 0, steps
        self._started = self._shown = time.monotonic()
        if not self.shown or not self.console.is_terminal:
            return
        self._bar = bar_on(self.console, transient=True)
        self._task = self._bar.add_task(self._description(), total=steps)
        self._bar.start()

    def step(self) -> None:
        self._done += 1
        if self.shown and time.monotonic() - self._shown >= (BAR_SECONDS if self._bar else LINE_SECONDS):
            self._shown = time.monotonic()
            if self._bar:
                self._bar.update(self._task, completed=self._done, description=self._description())
            else:
                of_total = f"/{self._total}" if self._total else ""
                log.info(
                    "%s, step %d%s, %.0f s", self._description(), self._done, of_total, self._shown - self._started
                )

    def ended(self, job: StackedJob, metrics: Mapping[str, Any], score: float) -> None:
        """A run has been trained and scored; its files are being written."""
        self._running -= 1
        course = f"{metrics['epochs']} epochs ({metrics['stopped_by']})"
        self._say(f"#{job.number} {job.name}: {course}, {job.config.callbacks.monitor} {score:.4f}")

    def closed(self, jobs: Sequence[StackedJob]) -> None:
        """All files of these jobs are there, or they have failed."""
        for job in jobs:
            self.written += 1
            if job.record.state != "finished":
                reason = " ".join((job.record.reason or "").split())
                self._say(f"#{job.number} {job.name}: {job.record.state}: {reason}")
        if jobs and not self._bar and self.shown and time.monotonic() - self._shown >= LINE_SECONDS:
            self._shown = time.monotonic()
            log.info("%d of %d jobs are written.", self.written, self.jobs)

    def end(self) -> None:
        """The stack has been trained."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _description(self) -> str:
        return f"{self._running} runs at once"

    def _say(self, line: str) -> None:
        if self._bar:
            self._bar.console.print(line, highlight=False, markup=False)
        else:
            log.info("%s", line)
