"""How far a long piece of work is: a bar on a terminal, log lines where nobody watches."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # rich takes a tenth of a second to import, and most work is over before it is shown
    from rich.console import Console
    from rich.progress import Progress

Item = TypeVar("Item")

BAR_SECONDS = 0.25  # between two redraws
LINE_SECONDS = 5.0  # between two log lines
SILENT_SECONDS = 1.0  # before `counting` shows anything: a bar that flashes up and is gone tells nothing


class Display:
    """A bar on a terminal, else a log line every LINE_SECONDS.

    Args:
        log: of the module whose work is shown.
        console: of the bar; standard error unless given.
    """

    def __init__(self, log: logging.Logger, console: Console | None = None) -> None:
        self.log = log
        if console is not None:
            self.console = console
        self.bar: Progress | None = None
        self._started = self._shown = time.monotonic()

    @cached_property
    def console(self) -> Console:
        from rich.console import Console

        return Console(stderr=True)

    def start(self, description: str, total: int | None, done: int = 0, **look: bool) -> None:
        """Begin anew, at `done` of `total`; `look` as `open_bar` has it."""
        self._started = self._shown = time.monotonic()
        self.open_bar(description, total, done, **look)

    def open_bar(
        self,
        description: str,
        total: int | None,
        done: int = 0,
        *,
        figures: bool = False,
        time_left: bool = True,
        transient: bool = True,
    ) -> None:
        """Draw the bar, if this is a terminal.

        Args:
            figures: it ends in the text that `show` is given as `figures`.
            time_left: it shows for how long it goes on.
            transient: it vanishes when it is stopped.
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
            refresh_per_second=1 / BAR_SECONDS,  # a thread's work: the clock goes on during a long batch
            redirect_stdout=sys.stdout.isatty(),  # a piped standard output must not end up on the terminal
        )
        self._task = self.bar.add_task(description, total=total, completed=done, figures="")
        self.bar.start()

    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def due(self) -> bool:
        """Whether it is time to `show`; a look at the clock, cheap enough for each step."""
        return time.monotonic() - self._shown >= (BAR_SECONDS if self.bar else LINE_SECONDS)

    def show(self, done: float, line: str, **fields: Any) -> None:
        """Move the bar to `done` and set its `description` and `figures`; without a bar, log `line`."""
        self._shown = time.monotonic()
        if self.bar:
            self.bar.update(self._task, completed=done, **fields)
        else:
            self.log.info("%s", line)

    def say(self, line: str) -> None:
        """Print a line above the bar; without a bar, log it."""
        if self.bar:
            self.bar.console.print(line, highlight=False, markup=False)
        else:
            self.log.info("%s", line)

    def stop(self) -> None:
        if self.bar:
            self.bar.stop()
            self.bar = None


@contextmanager
def counting(
    log: logging.Logger, what: str, total: float | None, announcement: str | None = None
) -> Iterator[Callable[[float], None]]:
    """Yield a function that is called with what was done since its last call; nothing is shown of what is over at once.

    Args:
        announcement: logged at the start where there is no terminal.
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
    """Yield the items, counting them; without a terminal a line at the start says how many there are."""
    listed = list(items)
    with counting(log, what, len(listed), f"{what}: {len(listed)}") as advance:
        for item in listed:
            yield item
            advance(1)
