"""Progress of long work: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # rich takes 0.1 s to import, and most work ends before a bar is shown
    from rich.console import Console
    from rich.progress import Progress

Item = TypeVar("Item")

BAR_SECONDS = 0.25  # between two redraws
LINE_SECONDS = 5.0  # between two log lines
SILENT_SECONDS = 1.0  # before `counting` shows anything: a bar that appears for a moment only distracts


class Display:
    """A progress bar on a terminal, otherwise a log line every LINE_SECONDS.

    Args:
        log: the logger of the module that does the work.
        console: the terminal for the bar; standard error by default.
    """

    def __init__(self, log: logging.Logger, console: Console | None = None) -> None:
        self.log = log
        if console is not None:
            self.console = console
        self.bar: Progress | None = None
        self._started = self._shown = time.monotonic()

    @cached_property
    def console(self) -> Console:
        """The terminal for the bar, opened when first needed."""
        from rich.console import Console

        return Console(stderr=True)

    def start(self, description: str, total: int | None, done: int = 0, **look: bool) -> None:
        """Restart the clock and the bar at `done` of `total`; `look` is passed to `open_bar`."""
        self._started = self._shown = time.monotonic()
        self.open_bar(description, total, done, **look)

    def open_bar(
        self,
        description: str,
        total: float | None,
        done: float = 0,
        *,
        figures: bool = False,
        time_left: bool = True,
        transient: bool = True,
    ) -> None:
        """Draw the bar if the console is a terminal.

        Args:
            total: the count at the end; None if it is not known.
            figures: end the bar with the text that `show` receives as `figures`.
            time_left: show the estimated time that is left.
            transient: remove the bar when it is stopped.
        """
        if not self.console.is_terminal:
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = [TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn()]
        columns += [TimeElapsedColumn(), *[TimeRemainingColumn(compact=True)] * time_left]
        self.bar = Progress(
            *columns,
            *[TextColumn("{task.fields[figures]}")] * figures,
            console=self.console,
            expand=True,
            transient=transient,
            refresh_per_second=1 / BAR_SECONDS,  # a thread redraws, so the clock runs on during a long batch
            redirect_stdout=sys.stdout.isatty(),  # piped output must not be printed on the terminal
        )
        self._task = self.bar.add_task(
            description,
            total=total,
            completed=done,  # type: ignore[arg-type]  # annotated as int, kept as float
            figures="",
        )
        self.bar.start()

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._started

    def due(self) -> bool:
        """Return True if it is time to call `show` again; cheap enough to ask after every step."""
        return time.monotonic() - self._shown >= (BAR_SECONDS if self.bar else LINE_SECONDS)

    def show(self, done: float, line: str, **fields: Any) -> None:
        """Move the bar to `done` and set its `description` and `figures`; without a bar, log `line` instead."""
        self._shown = time.monotonic()
        if self.bar:
            self.bar.update(self._task, completed=done, **fields)
        else:
            self.log.info("%s", line)

    def say(self, line: str) -> None:
        """Print a line above the bar; without a bar, log it instead."""
        if self.bar:
            self.bar.console.print(line, highlight=False, markup=False)
        else:
            self.log.info("%s", line)

    def stop(self) -> None:
        """Close the bar, if there is one."""
        if self.bar:
            self.bar.stop()
            self.bar = None


@contextmanager
def counting(
    log: logging.Logger, what: str, total: float | None, announcement: str | None = None
) -> Iterator[Callable[[float], None]]:
    """Show the progress of the block. Yield a function to call with the amount done since its last call.

    Work that ends within SILENT_SECONDS shows nothing.

    Args:
        what: the description, such as "Preparing articles".
        total: the amount at the end; None if it is not known.
        announcement: a line that is logged at the start where there is no terminal.
    """
    display, done, silent = Display(log), 0.0, True
    if announcement and not display.console.is_terminal:
        log.info("%s", announcement)

    def advance(count: float) -> None:
        nonlocal done, silent
        done += count
        if silent:
            if display.seconds() < SILENT_SECONDS:
                return
            silent = False
            display.open_bar(what, total, done)
        if display.due():
            of_total = "" if total is None else f" of {total:,.0f}"
            display.show(done, f"{what}: {done:,.0f}{of_total}, {display.seconds():.0f} s")

    try:
        yield advance
    finally:
        display.stop()


def tracked(log: logging.Logger, items: Iterable[Item], what: str) -> Iterator[Item]:
    """Yield the items and show how many are done; without a terminal, log their number at the start."""
    listed = list(items)
    with counting(log, what, len(listed), f"{what}: {len(listed)}") as advance:
        for item in listed:
            yield item
            advance(1)
