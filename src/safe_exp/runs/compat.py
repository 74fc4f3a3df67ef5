"""Private parts of libraries that a run needs. tests/runs/test_compat.py fails when one of them has changed."""

from __future__ import annotations

import sys
from functools import wraps
from typing import Any

STAGED_INPUTS = "wandb.sdk.launch.inputs.internal"  # the module that holds what W&B Launch has staged


def skip_staged_inputs() -> None:
    """Let a W&B run look for inputs that W&B Launch has staged only where Launch has been loaded.

    Needed because every run loads Launch for that look, which takes a second of processor time, and no setting leaves
    it out. Nothing can have been staged before Launch was loaded.
    """
    from wandb.sdk.wandb_run import Run

    look: Any = Run._detect_and_apply_job_inputs
    if hasattr(look, "__wrapped__"):
        return

    @wraps(look)
    def look_if_loaded(run: Any) -> None:
        if STAGED_INPUTS in sys.modules:
            look(run)

    Run._detect_and_apply_job_inputs = look_if_loaded  # type: ignore[method-assign, assignment]
