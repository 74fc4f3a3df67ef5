"""What happens around the epochs: when to stop, what to keep, what to remember."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, Timer

from safe_exp.config import CallbacksConfig
from safe_exp.files import whole_file


class Convergence(Callback):
    """The paper's "while not convergence": end when the epoch's training loss stands still.

    It stands still when it has changed by less than `tolerance`, relative to its value, for `patience` epochs in a row.
    """

    def __init__(self, tolerance: float, patience: int) -> None:
        self.tolerance, self.patience = tolerance, patience
        self.last_loss: float | None = None
        self.still_epochs = 0
        self.converged = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loss = float(trainer.callback_metrics["train/loss"])
        if self.last_loss is not None:
            change = abs(loss - self.last_loss) / max(abs(self.last_loss), torch.finfo(torch.float32).tiny)
            self.still_epochs = self.still_epochs + 1 if change < self.tolerance else 0
        self.last_loss = loss
        if self.patience and self.still_epochs >= self.patience:
            self.converged = trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"last_loss": self.last_loss, "still_epochs": self.still_epochs, "converged": self.converged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last_loss, self.still_epochs = state_dict["last_loss"], state_dict["still_epochs"]
        self.converged = state_dict["converged"]


class EpochHistory(Callback):
    """Every epoch's logged values, for the loss curves; kept in the checkpoints, so that a resumed run has them all."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.epochs.append({"epoch": trainer.current_epoch, **values})

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = state_dict["epochs"]


class MovableCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, but it remembers its best score when the run folder was moved before a resume."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(self.dirpath) / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: here(state_dict[name]) for name in paths}
        best_k_models = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": best_k_models, "dirpath": self.dirpath})


class WholeCheckpointIO(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all, and are never unpickled."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with whole_file(Path(path)) as draft:
            torch.save(checkpoint, draft)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)


def build_callbacks(config: CallbacksConfig, folder: Path) -> list[Callback]:
    """The run's own callbacks; checkpoints go to `folder`/checkpoints."""
    callbacks: list[Callback] = [
        EpochHistory(),
        Convergence(config.convergence.tolerance, config.convergence.patience),
        MovableCheckpoint(
            dirpath=folder / "checkpoints",
            filename="best",
            monitor=config.monitor,
            mode=config.mode,
            save_top_k=1,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        ),
        # Every epoch, and after best.ckpt; ModelCheckpoint's own save_last writes only when a new best is saved. At the
        # end of the epoch, when scheduler, history and convergence have moved on too: a run that resumes from here
        # repeats nothing and misses nothing.
        MovableCheckpoint(
            dirpath=folder / "checkpoints",
            filename="last",
            save_top_k=1,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        ),
    ]
    if config.early_stopping.patience:
        callbacks.insert(
            2,
            EarlyStopping(
                config.monitor,
                min_delta=config.early_stopping.min_delta,
                patience=config.early_stopping.patience,
                mode=config.mode,
                check_on_train_epoch_end=True,
            ),
        )
    return callbacks


def stopped_by(trainer: pl.Trainer) -> str:
    """Which condition ended the training, in the words of metrics.json."""
    for callback in trainer.callbacks:
        if isinstance(callback, Convergence) and callback.converged:
            return "converged"
        if isinstance(callback, EarlyStopping) and callback.stopped_epoch > 0:
            return "early_stopping"
    if trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps:
        return "max_steps"
    if trainer.max_epochs not in (None, -1) and trainer.current_epoch >= trainer.max_epochs:
        return "max_epochs"
    return "max_time" if any(isinstance(callback, Timer) for callback in trainer.callbacks) else "stopped"
