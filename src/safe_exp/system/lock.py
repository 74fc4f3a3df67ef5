"""A lock on a file, for one process at a time. The system releases it when the process ends, however it ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from safe_exp.system.errors import UserError

log = logging.getLogger(__name__)

LOCK_NAME = ".lock"  # the file in the folder that it guards


@contextmanager
def locked(path: Path, waiting: str, refuse: bool = False) -> Iterator[None]:
    """Hold the lock on `path`, a file in an existing folder, during the block.

    On a file system without locks the block runs unlocked.

    Args:
        waiting: the message if another process holds the lock.
        refuse: raise that message; otherwise log it and wait for the lock.
    Raises:
        UserError: another process holds the lock and `refuse` is true.
    """
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            if refuse:
                raise UserError(waiting) from error
            log.info("%s", waiting)
            lock.acquire()
    except (OSError, NotImplementedError):  # this file system has no locks, so no process holds one
        log.debug("No lock could be taken on %s.", path, exc_info=True)
    try:
        yield
    finally:
        lock.release()
