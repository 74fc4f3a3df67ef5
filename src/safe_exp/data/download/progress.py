"""Progress of a download on standard error: a bar on a terminal, else a log line every few seconds."""

import logging
from collections import Counter

from rich.console import Console
from rich.filesize import decimal

from safe_exp.data.download.folder import Downloaded, Failed
from safe_exp.system.terminal import Display

log = logging.getLogger(__name__)


class DownloadProgress:
    """Counts of the requests that are settled.

    Args:
        total: number of requests, if it is known before they are read.
        console: where the bar is shown; None: standard error.
    """

    def __init__(self, total: int | None, console: Console | None = None) -> None:
        self.total = total
        self.done = self.fetched = self.stored = self.failed = self.bytes = 0
        self.reasons: Counter[str] = Counter()
        self._display = Display(log, console)

    def __enter__(self) -> "DownloadProgress":
        self._display.start("Images", self.total, figures=True, time_left=False, transient=False)
        return self

    def __exit__(self, *error: object) -> None:
        if self._display.bar:
            self._show()
            self._display.stop()
        log.info("%s", self._line())
        for reason, count in self.reasons.most_common():
            log.info("  %s × %s", f"{count:,}", reason)

    def count(self, outcome: Downloaded | Failed, size: int = 0) -> None:
        """Count an address that is settled; `size` bytes were fetched for it."""
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
        """Count a request whose address an earlier one has named."""
        self.done += 1

    def show_if_due(self) -> None:
        """Update the display if enough time has passed since the last update."""
        if self._display.due():
            self._show()

    def _show(self) -> None:
        self._display.show(self.done, self._line(), figures=self._figures())

    def _line(self) -> str:
        of_total = f"/{self.total:,}" if self.total else ""
        return f"Images: {self.done:,}{of_total}, {self._display.seconds():.0f} s: {self._figures()}"

    def _figures(self) -> str:
        return (
            f"{self.fetched:,} fetched ({decimal(self.bytes)}), {self.stored:,} stored before, {self.failed:,} failed"
        )
