"""Import of Lightning without the libraries that torchmetrics would load along with it."""

from __future__ import annotations

import sys
from importlib.metadata import DistributionFinder, PackageNotFoundError
from typing import Any

from safe_exp.cli.late_dynamo import put_off_dynamo

UNUSED = ("matplotlib", "scipy", "transformers")


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
