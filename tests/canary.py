"""Canaries: what we use of a library's inner parts does what we use it for."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import pytest


@contextmanager
def relies_on(library: str, moved: str) -> Iterator[None]:
    """Fail with the library, its version and what has moved, whatever goes wrong within the block."""
    try:
        yield
    except (Exception, SystemExit) as error:
        pytest.fail(f"{library} {version(library)}: {moved} See compat.py. ({type(error).__name__}: {error})")
