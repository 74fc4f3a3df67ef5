"""Starting sooner: Lightning without what its metrics might use."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.metadata import PackageNotFoundError
from typing import Any

UNUSED = ("matplotlib", "scipy", "transformers")


def import_lightning() -> None:
    """Import Lightning while UNUSED look as if they were not installed.

    torchmetrics, which Lightning imports, imports them where it finds them, for metrics of audio and text and for plots
    of its own, none of which a command uses: 2 of the 6 seconds that Lightning takes to import. They are hidden only
    while Lightning is imported; whatever imports them afterwards gets them.
    """
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        import pytorch_lightning  # noqa: F401
    finally:
        sys.meta_path.remove(hidden)


class _Hidden(MetaPathFinder):
    """Finds neither the modules nor the versions of UNUSED, and keeps the finders after it from being asked."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.partition(".")[0] in UNUSED:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)

    def find_distributions(self, context: Any) -> tuple[()]:
        if context.name in UNUSED:
            raise PackageNotFoundError(context.name)
        return ()
