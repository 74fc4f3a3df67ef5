"""What standard error shows of a download: a bar on a terminal, else a log line every few seconds."""

import logging
import sys
import time
from collections import Counter

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from safe_exp.data.download.folder import Downloaded, Failed

log = logging.getLogger(__name__)

BAR_SECONDS = 0.25  # between two redraws
LINE_SECONDS = 5.0  # between two log lines


class DownloadProgress:
    """Counts what is settled. `total`: how many requests there are, if that is known before they are read."""

    def __init__(self, total: int | None, console: Console | None = None) -> None:
        self.total = total
        self.done = self.fetched = self.stored = self.failed = self.bytes = 0
        self.reasons: Counter[str] = Counter()
        self.console = console or Console(stderr=True)
        self._bar: Progress | None = None

    def __enter__(self) -> "DownloadProgress":
        self._started = self._shown = time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("Images"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self.console,
                expand=True,
                redirect_stdout=sys.stdout.isatty(),  # a piped standard output must not end up on the terminal
            )
            self._task = self._bar.add_task("", total=self.total, figures="")
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._show()
            self._bar.stop()
        log.info("%s", self._line())
        for reason, count in self.reasons.most_common():
            log.info("  %s × %s", f"{count:,}", reason)

    def count(self, outcome: Downloaded | Failed, size: int = 0) -> None:
        """One address is settled; `size`: bytes that were fetched for it."""
        self.done += 1
        self.bytes += size
        if isinstance(outcome, Failed):
            self.failed += 1
            self.reasons[outcome.reason] += 1
        elif outcome.fresh:
            self.fetched += 1
        else:
            self.stored += 1

    def count_repeated(self) -> None:
        """A request whose address another one has named before."""
        self.done += 1

    def show_if_due(self) -> None:
        if time.monotonic() - self._shown >= (BAR_SECONDS if self._bar else LINE_SECONDS):
            self._show()

    def _show(self) -> None:
        self._shown = time.monotonic()
        if self._bar:
            self._bar.update(self._task, completed=self.done, figures=self._figures())
        else:
            log.info("%s", self._line())

    def _line(self) -> str:
        of_total = f"/{self.total:,}" if self.total else ""
        return f"Images: {self.done:,}{of_total}, {time.monotonic() - self._started:.0f} s: {self._figures()}"

    def _figures(self) -> str:
        return (
            f"{self.fetched:,} fetched ({decimal(self.bytes)}), {self.stored:,} stored before, {self.failed:,} failed"
        )
