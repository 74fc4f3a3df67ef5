"""One process at a time: a lock on a file, which the system lets go of when its process ends, however it ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from safe_exp.system.errors import UserError

log = logging.getLogger(__name__)

LOCK = ".lock"  # in the folder that it guards


@contextmanager
def locked(path: Path, waiting: str, refuse: bool = False) -> Iterator[None]:
    """Hold the lock on `path`, whose folder exists.

    Args:
        waiting: what to say when another process holds it.
        refuse: end with that message; else it is logged, and the lock waited for.
    Raises:
        UserError: another process holds it, and `refuse`.
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
    except (OSError, NotImplementedError):  # no locks on this file system; then nobody can hold one
        log.debug("No lock could be taken on %s.", path, exc_info=True)
    try:
        yield
    finally:
        lock.release()
