"""The log of a job in its folder: logs/run.log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def log_file(folder: Path) -> Iterator[None]:
    """Copy what is logged within the block to logs/run.log of the run folder, with times."""
    path = folder / "logs" / "run.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _QuietFileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.DEBUG)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        with suppress(OSError):  # the disk may be full, and closing writes what is buffered
            handler.close()


class _QuietFileHandler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Drop a line that a full disk does not take: the terminal has it, and a traceback for each would bury it."""
