"""How far a long count is: a bar on a terminal, else a log line every few seconds; nothing where it is over at once."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

SILENT_SECONDS = 1.0  # a bar that flashes up and is gone tells nothing
LINE_SECONDS = 5.0


@contextmanager
def counting(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yield a function that is called with what was done since its last call."""
    start = shown = time.monotonic()
    done = 0
    bar = None
    terminal = sys.stderr.isatty()

    def advance(count: int) -> None:
        nonlocal done, shown, bar
        done += count
        now = time.monotonic()
        if now - start < SILENT_SECONDS:
            return
        if terminal:
            bar = bar or _open_bar(what, total)
            bar.update(bar.task_ids[0], completed=done)
        elif now - shown >= LINE_SECONDS:
            shown = now
            log.info("%s: %s, %.0f s", what, f"{done:,}" if total is None else f"{done:,} of {total:,}", now - start)

    try:
        yield advance
    finally:
        if bar:
            bar.stop()


def _open_bar(what: str, total: int | None):
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    bar.add_task(what, total=total)
    bar.start()
    return bar
