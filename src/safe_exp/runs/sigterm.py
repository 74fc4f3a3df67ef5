"""SIGTERM, by which clusters end a job, as an exit of Python."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGTERM_EXIT = 128 + signal.SIGTERM  # the exit code that a shell reports for it


@contextmanager
def sigterm_as_exit() -> Iterator[None]:
    """Let SIGTERM unwind the block like Ctrl-C, by SystemExit(SIGTERM_EXIT), so that status.json tells of it.

    Does nothing outside the main thread, where Python allows no signal handlers.

    Raises:
        SystemExit: SIGTERM came within the block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(*_: Any) -> None:
        raise SystemExit(SIGTERM_EXIT)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
