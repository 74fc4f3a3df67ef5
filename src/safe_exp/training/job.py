"""The parts of a job while it is trained and scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytorch_lightning as pl

from safe_exp.config import TrainConfig
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.scoring.results import Results
from safe_exp.training.module import SafeModule

if TYPE_CHECKING:
    from safe_exp.runs.loggers import OpenLogger


class PreparedJob(NamedTuple):
    """The parts of a job, ready to be trained."""

    config: TrainConfig
    folder: Path
    data: FakeNewsNetDataModule
    module: SafeModule
    loggers: list[OpenLogger]
    trainer: pl.Trainer
    devices: list[int] | None  # indices of the GPUs that are leased; None: trainer.devices decides
    start: float  # when the job began, by `time.perf_counter`


class ScoredJob(NamedTuple):
    """The scores of the weights that a job keeps."""

    best_epoch: int | None  # counted from 0; None without a checkpoint, as after a fast_dev_run
    results: Results
    validated: dict[str, float]  # figures of validation at a threshold of 0.5, by logged name
    kept: dict[str, Any]  # entries of metrics.json about the choice of the weights and the refit
