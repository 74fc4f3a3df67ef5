"""Callbacks of a training: history, checkpoints and checks. Those that end it are in stopping.py."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback

from safe_exp.config import CallbacksConfig, Select
from safe_exp.runs.checkpoints import read_checkpoint, restore_best_epoch
from safe_exp.runs.resume import reopen_run
from safe_exp.system.files import whole_file
from safe_exp.training.averaging import AveragedWeights
from safe_exp.training.compat import LightCheckpoint
from safe_exp.training.extra_callbacks import require_distinct_states, require_plain_state
from safe_exp.training.hooks import NoBatchHooks
from safe_exp.training.selection import EpochOutputs
from safe_exp.training.stopping import Convergence, LastingEarlyStopping, StepLimit


class EpochHistory(NoBatchHooks, Callback):
    """Keeps the logged values of every epoch, for the loss curves, and stores them in the checkpoints.

    They are one table: as single numbers the values of 900 epochs would be 50,000 objects, which two checkpoints pickle
    after each epoch.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.values = torch.empty(0, 0, dtype=torch.float64)  # (epochs, names); NaN where an epoch has no such value

    @property
    def epochs(self) -> list[dict[str, float]]:
        """One dict for each epoch: its logged values, and `epoch`, counted from 0."""
        rows = (dict(zip(self.names, row, strict=True)) for row in self.values.tolist())
        return [{**row, "epoch": int(row["epoch"])} for row in rows]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._append({"epoch": trainer.current_epoch, **logged})

    def _append(self, row: dict[str, float]) -> None:
        """Add one row to the table, and a column for each new name."""
        new = [name for name in row if name not in self.names]
        if new:
            self.names = [*self.names, *new]
            self.values = torch.nn.functional.pad(self.values, (0, len(new)), value=math.nan)
        values = [row.get(name, math.nan) for name in self.names]
        self.values = torch.cat([self.values, torch.tensor([values], dtype=torch.float64)])

    def state_dict(self) -> dict[str, Any]:
        return {"names": self.names, "values": self.values}  # _append replaces both and never writes into them

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if "epochs" in state_dict:  # a checkpoint of an older version
            for row in state_dict["epochs"]:
                self._append(row)
        else:
            self.names, self.values = state_dict["names"], state_dict["values"].cpu()


class RanksAgree(NoBatchHooks, Callback):
    """Checks at the end of the training that all processes hold the same weights, bit for bit.

    If the processes did not exchange one of the gradients, each would train a model of its own: no error, plausible
    losses, and only the first process's model is scored.
    """

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare digests of the weights.

        Raises:
            RuntimeError: they differ.
        """
        digest = hashlib.sha256()
        for value in pl_module.state_dict().values():
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        agrees = trainer.strategy.broadcast(digest.hexdigest()) == digest.hexdigest()
        if not trainer.strategy.reduce_boolean_decision(agrees, all=True):
            raise RuntimeError("The processes have drifted apart: their weights differ. This is a fault of safe_exp.")


class TrainedFurther(NoBatchHooks, Callback):
    """Marks a resumed run as running again, once Lightning has accepted the new limit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            reopen_run(self.folder)


class MovableCheckpoint(NoBatchHooks, LightCheckpoint):
    """Lightning's ModelCheckpoint, which keeps its best score when the run folder was moved before a resume.

    A run that trains on gets the checkpoint of its best epoch back, if it had kept other weights at its end.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if self.monitor is not None and trainer.is_global_zero:  # not before: a run that is refused stays as it was
            restore_best_epoch(Path(self.dirpath))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(self.dirpath) / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: here(state_dict[name]) for name in paths}
        best_k_models = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": best_k_models, "dirpath": self.dirpath})


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints that appear whole or not at all, and reads them without unpickling.

    Args:
        foreign: True if callbacks of the user store a part of the checkpoint, which may be no plain values.
    """

    def __init__(self, foreign: bool = False) -> None:
        super().__init__()
        self.foreign = foreign

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            UserError: a callback of the user has put something into it that could not be read again.
        """
        if self.foreign:  # before an earlier checkpoint, which can be read, is replaced
            for name, state in checkpoint["callbacks"].items():
                require_plain_state(f"callbacks.extra: {name}", state)
            for name, value in checkpoint.items():
                require_plain_state(f"callbacks.extra: the entry {name} of a checkpoint", value)
        with whole_file(Path(path)) as draft:
            torch.save(checkpoint, draft)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        return read_checkpoint(path, map_location or "cpu")


def build_callbacks(
    config: CallbacksConfig,
    folder: Path,
    max_steps: int | None = None,
    max_time: Any = None,
    extra: Sequence[Callback] = (),
) -> list[Callback]:
    """Build the callbacks of a run.

    Args:
        folder: of the run; checkpoints go to `folder`/checkpoints.
        max_steps, max_time: of the config's trainer section.
        extra: the user's own, from `build_extra_callbacks`.
    Raises:
        UserError: two callbacks keep their state under one name.
    """
    callbacks: list[Callback] = [
        EpochHistory(),
        Convergence(config.convergence.tolerance, config.convergence.patience),
        StepLimit(max_steps, max_time),
        RanksAgree(),
        EpochOutputs(config.monitor, config.mode),
        *([AveragedWeights()] if config.select in (Select.auto, Select.average) else []),
        MovableCheckpoint(
            dirpath=folder / "checkpoints",
            filename="best",
            monitor=config.monitor,
            mode=config.mode,
            save_top_k=1,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        ),
        # Lightning calls checkpoints after all others. The user's are behind ours, which Lightning calls the run's
        # checkpoint, and before last.ckpt, which then holds the state that they have at the end of the epoch.
        *extra,
        # last.ckpt is written after every epoch; ModelCheckpoint's save_last writes it only with a new best. It comes
        # after best.ckpt, when scheduler, history and convergence have moved on, so that a resumed run repeats nothing.
        _every_epoch(folder, "last"),
    ]
    if config.early_stopping.patience:
        callbacks.insert(
            2,
            LastingEarlyStopping(
                config.monitor,
                min_delta=config.early_stopping.min_delta,
                patience=config.early_stopping.patience,
                mode=config.mode,
                check_on_train_epoch_end=True,
            ),
        )
    require_distinct_states(callbacks)
    return callbacks


def build_refit_callbacks(folder: Path, averages: bool, checkpoint: str) -> list[Callback]:
    """Build the callbacks of a refit, which ends after a number of epochs that is known.

    Args:
        averages: average the weights of the epochs.
        checkpoint: name of the file in `folder`/checkpoints, without `.ckpt`.
    """
    average: list[Callback] = [AveragedWeights()] if averages else []
    return [EpochHistory(), RanksAgree(), *average, _every_epoch(folder, checkpoint)]


def _every_epoch(folder: Path, name: str) -> MovableCheckpoint:
    """Build the callback that writes a checkpoint after every epoch, over the one before."""
    return MovableCheckpoint(
        dirpath=folder / "checkpoints",
        filename=name,
        save_top_k=1,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
