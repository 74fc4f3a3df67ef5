"""Callbacks that end a training, with state in the checkpoints by which a resumed run knows that it had ended."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, Timer
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason

from safe_exp.runs.resume import ENDED_WITHIN_EPOCH
from safe_exp.system.errors import UserError
from safe_exp.training.hooks import NoBatchHooks, find_callbacks


class LastingStop(NoBatchHooks, Callback):
    """Base of a callback that may end the training, and that stores in the checkpoints that it did.

    A run may be killed between its last checkpoint and metrics.json. When it is resumed under the same limits it takes
    no further step, because another epoch would change its weights. Under a raised limit it trains on, and the callback
    starts to count again.
    """

    ended_under: list[float] | None = None  # `training_limits` of the training that this callback ended

    def end(self, trainer: pl.Trainer) -> None:
        """End the training after this epoch, and remember the limits that it had."""
        trainer.should_stop = True
        self.ended_under = training_limits(trainer)

    def count_anew(self) -> None:
        """Reset the counts that led to the end."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End a resumed run again, unless a limit has been raised since it ended."""
        if self.ended_under is None:
            return
        if any(now > then for now, then in zip(training_limits(trainer), self.ended_under, strict=True)):
            self.ended_under = None
            self.count_anew()
        else:
            trainer.should_stop = True


class Convergence(LastingStop):
    """Ends the training when the training loss stands still: the paper's "while not convergence".

    Args:
        tolerance: an epoch is still if its loss differs by less than this from the last epoch's, relative to the last.
        patience: still epochs in a row that end the training; 0 never ends it.
    """

    def __init__(self, tolerance: float, patience: int) -> None:
        self.tolerance, self.patience = tolerance, patience
        self.last_loss: float | None = None
        self.still_epochs = 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_last_batch:
            return  # the loss over a part of the articles cannot be compared with that over all
        loss = float(trainer.callback_metrics["train/loss"])
        if self.last_loss is not None:
            change = abs(loss - self.last_loss) / max(abs(self.last_loss), torch.finfo(torch.float32).tiny)
            self.still_epochs = self.still_epochs + 1 if change < self.tolerance else 0
        self.last_loss = loss
        if self.patience and self.still_epochs >= self.patience:
            self.end(trainer)

    def count_anew(self) -> None:
        self.still_epochs = 0

    def state_dict(self) -> dict[str, Any]:
        return {"last_loss": self.last_loss, "still_epochs": self.still_epochs, "ended_under": self.ended_under}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last_loss, self.still_epochs = state_dict["last_loss"], state_dict["still_epochs"]
        self.ended_under = state_dict["ended_under"]


class LastingEarlyStopping(LastingStop, EarlyStopping):
    """Lightning's EarlyStopping, checked once an epoch, with the memory of `LastingStop`."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_last_batch:
            return
        super().on_train_epoch_end(trainer, pl_module)
        if self.stopping_reason is not EarlyStoppingReason.NOT_STOPPED:
            self.end(trainer)

    def count_anew(self) -> None:
        self.wait_count = 0
        self.stopped_epoch = 0
        self.stopping_reason, self.stopping_reason_message = EarlyStoppingReason.NOT_STOPPED, None

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "ended_under": self.ended_under}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.ended_under = state_dict["ended_under"]


class StepLimit(NoBatchHooks, Callback):
    """Ends the training after `max_steps` updates, also within an epoch, and remembers where it ended.

    Lightning's own max_steps leaves out the last validation, and repeats the end of an epoch when the run is resumed.

    A run that ended within an epoch, by its steps or by trainer.max_time, cannot be trained further. The rest of its
    epoch is lost, so a resumed run would not reach the weights of a run without the limit.

    Args:
        max_steps: trainer.max_steps; None or -1: no limit.
        max_time: trainer.max_time. Lightning ends the training by it; here it is a limit in seconds.
    """

    def __init__(self, max_steps: int | None, max_time: Any = None) -> None:
        self.max_steps = math.inf if max_steps in (None, -1) else max_steps
        self.max_seconds = math.inf if max_time is None else Timer(max_time).time_remaining()  # of a new timer: all
        self.steps = 0
        self.ended_within = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop |= self.steps >= self.max_steps

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse to train a run further that ended within an epoch.

        Raises:
            UserError: it did.
        """
        if self.ended_within:
            raise UserError(f"This run {ENDED_WITHIN_EPOCH}")

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        self.steps += 1
        trainer.should_stop |= self.steps >= self.max_steps

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ended_within = not trainer.is_last_batch

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "ended_within": self.ended_within}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps, self.ended_within = state_dict["steps"], state_dict["ended_within"]


def training_limits(trainer: pl.Trainer) -> list[float]:
    """Read the limits of a training: epochs, steps and seconds; infinite where none is set."""
    epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs
    limit = next(iter(find_callbacks(trainer, StepLimit)), StepLimit(None))
    return [float(epochs), float(limit.max_steps), float(limit.max_seconds)]


def stopped_by(trainer: pl.Trainer) -> str:
    """Name the condition that ended the training, as metrics.json does under `stopped_by`."""
    for callback in find_callbacks(trainer, Callback):
        if isinstance(callback, LastingStop) and callback.ended_under is not None:
            return "converged" if isinstance(callback, Convergence) else "early_stopping"
        if isinstance(callback, StepLimit) and callback.steps >= callback.max_steps:
            return "max_steps"
    # current_epoch is one epoch behind in a run that is resumed at its end.
    epochs = trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]  # declared as its base
    if trainer.max_epochs not in (None, -1) and epochs >= trainer.max_epochs:
        return "max_epochs"
    return "max_time" if find_callbacks(trainer, Timer) else "stopped"


def ended_within_epoch(trainer: pl.Trainer) -> bool:
    """Tell whether the last epoch was cut short; such a run cannot be trained further."""
    return any(callback.ended_within for callback in find_callbacks(trainer, StepLimit))
