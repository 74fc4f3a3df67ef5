"""The choice of the weights that a run keeps: of the best epoch, of the last one, or their average."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from safe_exp.config import CallbacksConfig, LossSettings, Select, SplitMethod
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.data.splitting.splits import number_publishers
from safe_exp.equations.safe import map_tensors
from safe_exp.scoring.gain import Gain, measure_gain
from safe_exp.scoring.scores import ScoredSplit
from safe_exp.training.hooks import NoBatchHooks

FEWEST_PUBLISHERS = 10  # on the validation side of a split by publisher, from which an epoch can be chosen
FALLBACK = Select.average  # where validation cannot choose
DESCRIPTIONS = {
    Select.best: "the weights of the best epoch",
    Select.last: "the weights of the last epoch",
    Select.average: "the average of the weights of its epochs",
}


class EpochOutputs(NoBatchHooks, Callback):
    """Keeps the validation scores of the first and of the best epoch, which tell whether validation can choose.

    Args:
        monitor: logged name of the figure that picks the best epoch.
        mode: its better side, min or max.
    """

    def __init__(self, monitor: str, mode: str) -> None:
        self.monitor, self.mode = monitor, mode
        self.epochs = 0
        self.best_epoch, self.best_value = 0, math.nan  # counted from 0
        self.first: ScoredSplit | None = None
        self.best: ScoredSplit | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        value = float(trainer.callback_metrics[self.monitor])
        if math.isnan(value):  # as ModelCheckpoint takes it
            value = math.inf if self.mode == "min" else -math.inf
        better = value < self.best_value if self.mode == "min" else value > self.best_value
        if not self.epochs or better:
            # Copies: the scores of a stack are parts of one tensor, which checkpoints would hold whole.
            self.best = map_tensors(torch.clone, pl_module.scored["val"])  # type: ignore[index, assignment]
            self.best_value, self.best_epoch = value, self.epochs
        self.first = self.first or self.best
        self.epochs += 1

    def state_dict(self) -> dict[str, Any]:
        held: dict[str, Any] = {"epochs": self.epochs, "best_epoch": self.best_epoch, "best_value": self.best_value}
        for name in ("first", "best"):
            scored: ScoredSplit | None = getattr(self, name)
            held[name] = {} if scored is None else {k: v for k, v in scored._asdict().items() if v is not None}
        return held

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs, self.best_epoch = state_dict["epochs"], state_dict["best_epoch"]
        self.best_value = state_dict["best_value"]
        for name in ("first", "best"):
            columns: dict[str, Tensor] = {key: value.cpu() for key, value in state_dict[name].items()}
            setattr(self, name, ScoredSplit(**{"similarity": None, **columns}) if columns else None)


class Choice(NamedTuple):
    """The weights that a run keeps, and the reason."""

    rule: Select  # best, last or average
    epoch: int  # the best one, or the last one that has entered; counted from 0
    reason: str  # a sentence for people
    sure: bool = True  # False: validation cannot choose an epoch
    gain: Gain | None = None  # of the best epoch over the first, in callbacks.monitor; None: not measured

    def plain(self) -> dict[str, Any]:
        """The choice as metrics.json holds it; epochs are counted from 1."""
        gain, interval = (None, None) if self.gain is None else self.gain
        return {
            "rule": self.rule.value,
            "epoch": self.epoch + 1,
            "reason": self.reason,
            "gain": gain,
            "interval": interval,
        }


def choose_weights(
    config: CallbacksConfig, outputs: EpochOutputs, epochs: int, loss: LossSettings, publishers: int | None
) -> Choice:
    """Choose the weights that a run keeps.

    Args:
        outputs: of the run, after its last epoch.
        epochs: that the run has trained, one or more.
        loss: α, β and the kind of L_s.
        publishers: number of them on the validation side of a split by publisher, else None.
    """
    asked, best, last = config.select, outputs.best_epoch, epochs - 1
    if outputs.epochs != epochs or outputs.first is None or outputs.best is None:
        return Choice(Select.best, best, "The run was begun by a version that kept the best epoch.")
    gain = None
    if asked in (Select.auto, Select.best):
        figure = config.monitor.removeprefix("val/")
        gain = measure_gain(outputs.first, outputs.best, figure, config.mode, loss)
    doubt = None if gain is None else _describe_doubt(config.monitor, best, gain, len(outputs.best.label), publishers)
    rule = asked if asked is not Select.auto else Select.best if doubt is None else FALLBACK
    reason = f"callbacks.select={asked.value}." if doubt is None else doubt
    return Choice(rule, best if rule is Select.best else last, reason, doubt is None, gain)


def count_publishers(data: FakeNewsNetDataModule) -> int | None:
    """Count the publishers on the validation side of a split by publisher; None under another split."""
    if data.data.split is not SplitMethod.source:
        return None
    numbers = number_publishers([data.prepared.sources[row] for row in data.split.val])
    return len(np.unique(numbers[numbers >= 0]))


def describe_choice(config: CallbacksConfig, choice: Choice) -> str | None:
    """Write the line that says that validation cannot choose, and what was done; None where it can."""
    if choice.sure:
        return None
    kept = DESCRIPTIONS[choice.rule]
    return f"Validation cannot choose an epoch. {choice.reason} Kept: {kept} (callbacks.select={config.select.value})."


def _describe_doubt(monitor: str, best: int, gain: Gain, articles: int, publishers: int | None) -> str | None:
    """Write why validation cannot choose the epoch `best`, counted from 0; None where it can."""
    if publishers is not None and publishers < FEWEST_PUBLISHERS:
        named = f"{publishers} publisher{'s' * (publishers != 1)}"
        return f"Its articles are of {named}, and fewer than {FEWEST_PUBLISHERS} do not stand for others."
    if gain.is_sure:
        return None
    if best == 0:
        return f"No epoch is better than the first by {monitor}."
    spread = "" if gain.interval is None else ", {:.3g} to {:.3g} over resamples".format(*gain.interval)
    return (
        f"From epoch 1 to epoch {best + 1}, the best, {monitor} gains {gain.value:.3g} on {articles} articles{spread}."
    )
