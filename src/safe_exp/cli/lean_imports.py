"""Starting sooner: Lightning without what its metrics might use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

UNUSED = ("matplotlib", "scipy", "transformers")


@contextmanager
def lean_imports() -> Iterator[None]:
    """Let torchmetrics, while it is first imported within the block, take UNUSED for absent.

    It imports them where they are installed, for metrics of audio and text and for plots of its own, none of which a
    command uses: 2 of the 6 seconds that Lightning takes to import. What imports them by itself gets them.
    """
    from lightning_utilities.core import imports

    check, available = imports.RequirementCache._check_requirement, imports.package_available

    def lean_check(requirement: Any) -> None:
        check(requirement)
        if requirement.requirement.startswith(UNUSED):
            requirement.available = False

    imports.RequirementCache._check_requirement = lean_check
    imports.package_available = lambda name: name not in UNUSED and available(name)
    try:
        yield
    finally:
        imports.RequirementCache._check_requirement, imports.package_available = check, available
