"""Canary tests: private parts of libraries, used in a compat.py, still do what they are used for."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import pytest


@contextmanager
def relies_on(library: str, moved: str) -> Iterator[None]:
    """Fail with the library, its version and `moved`, if the block raises any error."""
    try:
        yield
    except (Exception, SystemExit) as error:
        pytest.fail(f"{library} {version(library)}: {moved} See compat.py. ({type(error).__name__}: {error})")
