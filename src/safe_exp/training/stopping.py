"""When training ends, and how a run that is resumed knows that it had ended."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, Timer
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason

from safe_exp.runs.resume import ENDED_WITHIN_EPOCH
from safe_exp.system.errors import UserError
from safe_exp.training.hooks import NoBatchHooks


class LastingStop(NoBatchHooks, Callback):
    """A callback that may end the training, and whose verdict outlives the process.

    A run that is resumed under the limits under which it had ended stays as it is: it was killed between its last
    checkpoint and metrics.json, and one more epoch would give other weights. Under a raised limit it trains on, which
    is what raising it asks for, and the callback counts anew from there.
    """

    ended_under: list[float] | None = None

    def end(self, trainer: pl.Trainer) -> None:
        trainer.should_stop = True
        self.ended_under = limits(trainer)

    def count_anew(self) -> None:
        """Forget what led to the end."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.ended_under is None:
            return
        if any(now > then for now, then in zip(limits(trainer), self.ended_under, strict=True)):
            self.ended_under = None
            self.count_anew()
        else:
            trainer.should_stop = True


class Convergence(LastingStop):
    """The paper's "while not convergence": end when the epoch's training loss stands still.

    It stands still when it has changed by less than `tolerance`, relative to its value, for `patience` epochs in a row.
    """

    def __init__(self, tolerance: float, patience: int) -> None:
        self.tolerance, self.patience = tolerance, patience
        self.last_loss: float | None = None
        self.still_epochs = 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_last_batch:
            return  # the loss of a part of an epoch compares with nothing
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
    """Lightning's EarlyStopping, once an epoch; it remembers its verdict as `LastingStop` says."""

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
    """Ends the training after `max_steps` updates, within an epoch if need be, and remembers where it ended.

    Lightning's own max_steps is not used: it leaves out the last validation, and when such a run is resumed it does the
    end of an epoch twice. A run that ended within an epoch, here or by trainer.max_time, cannot be trained further: the
    rest of its epoch is gone, and with it the weights that a run without the limit would have reached.

    Args:
        max_steps, max_time: of the config's trainer section. Lightning ends the training by `max_time`; `limits` reads
            it here, as seconds.
    """

    def __init__(self, max_steps: int | None, max_time: Any = None) -> None:
        self.max_steps = math.inf if max_steps in (None, -1) else max_steps
        self.max_seconds = math.inf if max_time is None else Timer(max_time).time_remaining()  # all of it, when new
        self.steps = 0
        self.ended_within = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop |= self.steps >= self.max_steps

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
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


def limits(trainer: pl.Trainer) -> list[float]:
    """The most epochs, steps and seconds that training may take; infinite where nothing is set."""
    epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs
    limit = next((callback for callback in trainer.callbacks if isinstance(callback, StepLimit)), StepLimit(None))
    return [float(epochs), float(limit.max_steps), float(limit.max_seconds)]


def stopped_by(trainer: pl.Trainer) -> str:
    """Which condition ended the training, in the words of metrics.json."""
    for callback in trainer.callbacks:
        if isinstance(callback, LastingStop) and callback.ended_under is not None:
            return "converged" if isinstance(callback, Convergence) else "early_stopping"
        if isinstance(callback, StepLimit) and callback.steps >= callback.max_steps:
            return "max_steps"
    epochs = trainer.fit_loop.epoch_progress.current.processed  # current_epoch lags behind in a run resumed at its end
    if trainer.max_epochs not in (None, -1) and epochs >= trainer.max_epochs:
        return "max_epochs"
    return "max_time" if any(isinstance(callback, Timer) for callback in trainer.callbacks) else "stopped"


def ended_within_epoch(trainer: pl.Trainer) -> bool:
    """Whether the last epoch was cut short, after which a run cannot be trained further."""
    return any(isinstance(callback, StepLimit) and callback.ended_within for callback in trainer.callbacks)
