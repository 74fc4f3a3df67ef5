"""Helpers for Lightning's callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

CallbackType = TypeVar("CallbackType", bound=Callback)


class NoBatchHooks:
    """Removes the hooks of a batch from a callback; it stands before Callback among the bases.

    Lightning calls every callable hook, the empty ones of Callback too, and builds a profiler name for each call. For
    seven callbacks this takes 0.2 ms a batch, a tenth of a small step.
    """

    on_train_batch_start: Callable[..., None] | None = None
    on_train_batch_end: Callable[..., None] | None = None
    on_before_optimizer_step: Callable[..., None] | None = None
    on_validation_batch_start: Callable[..., None] | None = None
    on_validation_batch_end: Callable[..., None] | None = None


def find_callbacks(trainer: pl.Trainer, kind: type[CallbackType]) -> list[CallbackType]:
    """Find the trainer's callbacks of the class `kind`, in their order."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # its connector sets the attribute
    return [callback for callback in callbacks if isinstance(callback, kind)]
