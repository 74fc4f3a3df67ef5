"""The state of Lightning's loops, as a checkpoint of a stacked run holds it."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


class LoopProgress:
    """Builds the state of Lightning's loops for a checkpoint, from a Trainer that never runs.

    Args:
        batches: of training, in an epoch.
        val_batches: of validation, in an epoch.
    """

    def __init__(self, batches: int, val_batches: int) -> None:
        self.batches, self.val_batches = batches, val_batches
        self.trainer = pl.Trainer(
            accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip

    def state_after(self, epochs: int) -> dict[str, Any]:
        """Build the loops' state at the end of an epoch, as the callbacks see it.

        Args:
            epochs: number of epochs, this one included.
        """
        fit, steps = self.trainer.fit_loop, epochs * self.batches
        for progress in (fit.epoch_progress.total, fit.epoch_progress.current):
            _set_counts(progress, epochs)
            progress.completed = epochs - 1  # Lightning completes the epoch after the callbacks
        loop = fit.epoch_loop
        _set_counts(loop.batch_progress.total, steps)
        _set_counts(loop.batch_progress.current, self.batches)
        for progress in (
            loop.manual_optimization.optim_step_progress.total,
            loop.manual_optimization.optim_step_progress.current,
        ):
            _set_counts(progress, steps)
        for progress in (loop.val_loop.batch_progress.total, loop.val_loop.batch_progress.current):
            _set_counts(progress, self.val_batches)
        loop.batch_progress.is_last_batch = loop.val_loop.batch_progress.is_last_batch = True
        names = ("fit_loop", "validate_loop", "test_loop", "predict_loop")
        stored = {name: getattr(self.trainer, name).state_dict() for name in names}
        stored["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"] = steps  # has no public attribute
        return stored


def _set_counts(progress: Any, number: int) -> None:
    """Set every count of one of Lightning's progress trackers."""
    for name in vars(progress):
        setattr(progress, name, number)
