"""A refit: one more training, from the same initial weights, on the training articles and those held out before."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from torch import Tensor

from safe_exp.config import TrainConfig
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.runs.checkpoints import REFIT, read_checkpoint
from safe_exp.runs.processes import is_first_process
from safe_exp.training.averaging import AveragedWeights
from safe_exp.training.hooks import find_callbacks
from safe_exp.training.module import SafeModule
from safe_exp.training.trainer import build_refit_trainer, lightning_refusals

log = logging.getLogger(__name__)

ALL = "all"  # value of the key `refit`: on test articles too


class RefitPlan(NamedTuple):
    """The course of a refit."""

    sides: tuple[str, ...]  # of the split, on whose articles it trains
    epochs: int
    averages: bool  # the weights are the average of its epochs; else those of the last one
    reason: str  # for the number of epochs

    def plain(self, articles: int, scored_test: str, calibrated_on: str) -> dict[str, Any]:
        """The refit as metrics.json holds it.

        Args:
            articles: number of them that it was trained on.
            scored_test: the model whose figures of test metrics.json holds.
            calibrated_on: the predictions that calibration and thresholds were fitted on.
        """
        weights = "average" if self.averages else "last"
        return {
            "sides": list(self.sides),
            "articles": articles,
            "epochs": self.epochs,
            "weights": weights,
            "test_scored_by": scored_test,
            "calibrated_on": calibrated_on,
        }


def refit_sides(refit: bool | str) -> tuple[str, ...]:
    """List the sides of the split on whose articles `refit` trains."""
    return ("train", "val", "test") if refit == ALL else ("train", "val")


def run_refit(
    config: TrainConfig,
    data: FakeNewsNetDataModule,
    folder: Path,
    plan: RefitPlan,
    checkpoint: str = REFIT.removesuffix(".ckpt"),
    devices: list[int] | None = None,
) -> tuple[pl.Trainer, dict[str, Tensor]]:
    """Train a model from the seed's initial weights, or go on where a killed refit was.

    Vocabulary, vectors and codebook stay those of the training side.

    Args:
        data: after `setup`.
        folder: of the run.
        checkpoint: name of the file in `folder`/checkpoints that is written after each epoch, without `.ckpt`.
        devices: indices of the GPUs that the job has leased; None: trainer.devices decides.
    Returns:
        The Trainer, and the state dict of the module.
    Raises:
        UserError: the loss diverged.
        KeyboardInterrupt: Ctrl-C.
    """
    articles = sum(len(data.split.sides()[side]) for side in plan.sides)
    if is_first_process():
        epochs = f"{plan.epochs} epoch{'s' * (plan.epochs != 1)}"
        log.info("Refit: %s on the %d articles of %s (%s).", epochs, articles, ", ".join(plan.sides), plan.reason)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    module = SafeModule(config, data.text_vectors, data.visual_vectors)
    trainer = build_refit_trainer(config, folder, plan.epochs, plan.averages, checkpoint, devices)
    data.trainer = trainer  # its batches go by the processes and the device; without a training before it has none
    path = folder / "checkpoints" / f"{checkpoint}.ckpt"
    begun = path.exists() and _goes_on(read_checkpoint(path), plan)
    with lightning_refusals():
        trainer.fit(module, data.refit_dataloader(plan.sides), ckpt_path=path if begun else None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    state = module.state_dict()
    averages = find_callbacks(trainer, AveragedWeights)
    return trainer, averages[0].fill(state) if averages else state


def _goes_on(checkpoint: Mapping[str, Any], plan: RefitPlan) -> bool:
    """Tell whether a refit that was begun is one of `plan`: a run that is trained further may get another plan."""
    averaged = AveragedWeights().state_key in checkpoint["callbacks"]  # else the first epochs would lack in the average
    return bool(checkpoint["epoch"] < plan.epochs) and (averaged or not plan.averages)
