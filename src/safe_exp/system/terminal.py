"""A progress bar on the terminal; where nobody watches, log lines."""

import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

BAR_SECONDS = 0.25  # between two redraws
LINE_SECONDS = 5.0  # between two log lines


def bar_on(console: Console, *more: ProgressColumn, transient: bool) -> Progress:
    """A bar across the terminal, with what `more` shows behind the times."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        *more,
        console=console,
        expand=True,
        transient=transient,
        refresh_per_second=1 / BAR_SECONDS,  # a thread's work: the clock goes on during a long batch
        redirect_stdout=sys.stdout.isatty(),  # a piped standard output must not end up on the terminal
    )
