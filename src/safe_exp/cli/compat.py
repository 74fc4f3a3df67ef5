"""Inner parts of libraries that the command line needs; tests/cli/test_compat.py tells when one has moved."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hydra._internal import utils as hydra_utils
from hydra.errors import CompactHydraException


@contextmanager
def composition_errors_told(tell: Callable[[CompactHydraException], str]) -> Iterator[None]:
    """Within the block let Hydra end with `tell(error)` alone where it would print an error and a line of advice.

    Needed because hydra.main prints and exits itself and has no hook for it; without it every command would compose its
    config once more beforehand, 0.2 s, and what a sweep composes would keep Hydra's words.
    """
    hydra_s_own = hydra_utils.run_and_report

    def run_and_report(function: Callable[[], Any]) -> Any:
        def told() -> Any:
            try:
                return function()
            except CompactHydraException as error:
                print(tell(error), file=sys.stderr)
                raise SystemExit(1) from None

        return hydra_s_own(told)

    hydra_utils.run_and_report = run_and_report
    try:
        yield
    finally:
        hydra_utils.run_and_report = hydra_s_own
