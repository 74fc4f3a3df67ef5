"""PyTorch's deterministic algorithms, for as long as a job runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

DEBUG_MODES = {True: "error", "warn": "warn"}  # PyTorch's, by trainer.deterministic; else default


@contextmanager
def deterministic_algorithms(wanted: Any, compiled: bool) -> Iterator[None]:
    """Let PyTorch take deterministic algorithms alone within the block, as Lightning does for trainer.deterministic.

    torch.use_deterministic_algorithms, which Lightning calls, also tells PyTorch's compiler, and loads it for that. It
    is called only if something is compiled.

    Args:
        wanted: trainer.deterministic: true, false, warn or null.
        compiled: the step is compiled.
    """
    before = torch.get_deterministic_debug_mode()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS raises an error
    if compiled:
        torch.use_deterministic_algorithms(bool(wanted), warn_only=wanted == "warn")
    else:
        torch.set_deterministic_debug_mode(DEBUG_MODES.get(wanted, "default"))
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
