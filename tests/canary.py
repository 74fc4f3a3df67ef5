"""Canaries: tests that the private parts of libraries still do what compat.py needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import pytest


@contextmanager
def relies_on(library: str, moved: str) -> Iterator[None]:
    """Fail, whatever goes wrong within the block, with the library, its version and the part that has moved."""
    try:
        yield
    except (Exception, SystemExit) as error:
        pytest.fail(f"{library} {version(library)}: {moved} See compat.py. ({type(error).__name__}: {error})")
