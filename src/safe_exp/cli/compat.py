"""Private parts of libraries that the command line needs; tests/cli/test_compat.py fails when one has moved."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hydra._internal import utils as hydra_utils
from hydra.errors import CompactHydraException
from yaml import MarkedYAMLError


@contextmanager
def composition_errors_told(tell: Callable[[CompactHydraException | MarkedYAMLError], str]) -> Iterator[None]:
    """Print `tell(error)` within the block, in the place of Hydra's error and its line of advice.

    Hydra has no public way: hydra.main prints and exits itself. Otherwise every command would have to compose its
    config once more beforehand (0.2 s), and errors in what a sweep composes would keep Hydra's words.

    Raises:
        SystemExit: with code 1, once the message is printed.
    """
    hydras_run_and_report = hydra_utils.run_and_report

    def run_and_report(func: Callable[[], Any]) -> Any:
        def told() -> Any:
            try:
                return func()
            except (CompactHydraException, MarkedYAMLError) as error:
                print(tell(error), file=sys.stderr)
                raise SystemExit(1) from None

        return hydras_run_and_report(told)

    hydra_utils.run_and_report = run_and_report
    try:
        yield
    finally:
        hydra_utils.run_and_report = hydras_run_and_report
