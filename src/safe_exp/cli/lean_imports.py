"""Imports at the start of a command: without the garbage collector, and of Lightning without what it does not need."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import DistributionFinder, PackageNotFoundError
from typing import Any

from safe_exp.cli.late_dynamo import put_off_dynamo

UNUSED = ("matplotlib", "scipy", "transformers")


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Import within the block without Python's garbage collector, which never looks at these objects afterwards.

    Modules are made of some 100,000 objects that stay to the end. The collector would look through all of them again
    and again, during the imports, the run and Python's own end: a fifth of the processor time of a short run. Only the
    first block of a process does this: later there may be garbage, which must not be kept.
    """
    if gc.get_freeze_count() or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_lightning() -> None:
    """Import Lightning while UNUSED look as if they were not installed.

    torchmetrics, which Lightning imports, loads them where it finds them, for metrics of audio and text and for plots.
    No command uses those, and loading them takes a third of the processor time of a start. They are hidden only while
    Lightning is imported; later imports find them.
    """
    put_off_dynamo()
    hidden = _NoDistributions()
    imported = {name: sys.modules[name] for name in UNUSED if name in sys.modules}
    sys.modules.update(dict.fromkeys(UNUSED))  # Python treats a module that is None as missing
    sys.meta_path.insert(0, hidden)
    try:
        import pytorch_lightning  # noqa: F401
    finally:
        sys.meta_path.remove(hidden)
        for name in UNUSED:
            del sys.modules[name]
        sys.modules.update(imported)


class _NoDistributions(DistributionFinder):
    """A finder that reports UNUSED as not installed, before other finders are asked."""

    def find_distributions(self, context: Any = None) -> tuple[()]:
        if context is not None and context.name in UNUSED:
            raise PackageNotFoundError(context.name)
        return ()

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        return None
