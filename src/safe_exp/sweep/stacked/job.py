"""One job of a stack: its folder, its state, its callbacks and its checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, Checkpoint, EarlyStopping
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from safe_exp.config import TrainConfig, plain_config
from safe_exp.runs.command_line import command_line
from safe_exp.runs.folder import locked_folder
from safe_exp.runs.job import interruption_note
from safe_exp.runs.log_file import log_file
from safe_exp.runs.names import name_job, name_sweep
from safe_exp.runs.status import JobRecord
from safe_exp.sweep.stacked.model import Snapshot
from safe_exp.system.errors import UserError
from safe_exp.training.callbacks import EpochHistory, WholeCheckpointIO, build_callbacks
from safe_exp.training.stopping import StepLimit

log = logging.getLogger(__name__)


class StackedJob:
    """What Hydra knows of a job, and its record from start to end.

    Args:
        number: its place in the sweep.
        prepared: what Hydra made of it; its status and return value are set when the job ends.
        config: the typed config.
        start: Hydra's own config of the job.
    """

    def __init__(self, number: int, prepared: JobReturn, config: TrainConfig, start: DictConfig) -> None:
        self.number, self.prepared, self.config = number, prepared, config
        self.folder = Path(start.runtime.output_dir)
        self.name, self.sweep = name_job(start), name_sweep(start)
        self.record: JobRecord | None = None
        self.run: FollowedRun | None = None  # while it is trained
        self._resources = ExitStack()

    def begin(self, code: dict[str, Any]) -> None:
        """Take the folder and open status.json; `code` is what `running_code` returned.

        Raises:
            UserError: another process works in the folder.
        """
        self._resources.enter_context(locked_folder(self.folder))
        self.record = JobRecord(self.folder, command_line(), code)

    @contextmanager
    def logging_to_its_file(self) -> Iterator[None]:
        """What is logged meanwhile goes to the job's own file, and to the terminal only from a warning on."""
        with quiet_terminal(), log_file(self.folder):
            yield

    def finished(self, score: float) -> None:
        self.prepared.return_value = score
        self.prepared.status = JobStatus.COMPLETED
        if self.record is not None:
            self.record.finished()
        self._resources.close()

    def failed(self, error: BaseException) -> None:
        """Record why the job ended early, as `recorded_job` does."""
        self.prepared.return_value = error
        self.prepared.status = JobStatus.FAILED
        if self.record is not None:
            self.record.failed(error)
            with self.logging_to_its_file():
                faulty = not isinstance(error, UserError)
                log.debug("The job ended early.", exc_info=error if faulty else None)
                if self.record.state == "interrupted":
                    log.info("%s", interruption_note(self.folder, self.record))
        self._resources.close()


@contextmanager
def quiet_terminal() -> Iterator[None]:
    """Only warnings pass the handlers that are there now."""
    levels = [(handler, handler.level) for handler in logging.getLogger().handlers]
    for handler, level in levels:
        handler.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        for handler, level in levels:
            handler.setLevel(level)


class FollowedRun:
    """One run of a stack. It stands in for the Trainer that the callbacks of a run read: a stacked job keeps its
    history, converges, stops early and picks its best epoch by the very code of a job that runs alone.

    Args:
        loops: makes what a checkpoint says of Lightning's loops after so many epochs; see `LoopProgress`.
    """

    fast_dev_run = sanity_checking = False
    is_last_batch = is_global_zero = True
    loggers = ()
    state = SimpleNamespace(fn=TrainerFn.FITTING)
    strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, all=True: decision)

    def __init__(self, config: TrainConfig, folder: Path, batches: int, loops: LoopProgress) -> None:
        self.callbacks = build_callbacks(config.callbacks, folder)
        self.max_epochs = config.trainer.max_epochs
        self.monitor = config.callbacks.monitor
        self.hyper_parameters = {"model": plain_config(config.model), "optimizer": plain_config(config.optimizer)}
        self.batches, self.loops = batches, loops
        self.current_epoch = self.global_step = 0
        self.should_stop = False
        self.callback_metrics: dict[str, Any] = {}
        self.fit_loop = SimpleNamespace(epoch_progress=SimpleNamespace(current=SimpleNamespace(processed=0)))
        self.rows: list[tuple[dict[str, float], int]] = []  # what was logged, each with its step
        self.checkpoints: dict[str, dict[str, Any]] = {}  # the latest of each file, by name; tensors of this run alone
        self._last: tuple[Snapshot, int, dict[str, Any], int] | None = None
        self._written: dict[str, int] = {}  # global_step of what lies on the disk

    @property
    def history(self) -> list[dict[str, float]]:
        return next(callback.epochs for callback in self.callbacks if isinstance(callback, EpochHistory))

    def end_epoch(self, figures: Mapping[str, float], snapshot: Snapshot, row: int) -> None:
        """Close an epoch as Lightning would.

        Args:
            figures: the epoch's logged values, of training and validation.
            snapshot: of the whole stack, schedulers stepped.
            row: this run's place in it.
        """
        self.global_step += self.batches
        self.fit_loop.epoch_progress.current.processed += 1
        for stage in ("train/", "val/"):
            logged = {name: value for name, value in figures.items() if name.startswith(stage)}
            self.log(logged, self.current_epoch, self.global_step - 1)
        # Callbacks that compare want a tensor; of the others' values each epoch makes a deep copy, cheap for numbers.
        now = _rounded(figures)
        self.callback_metrics = now | {self.monitor: torch.tensor(now[self.monitor])}
        self._snapshot = snapshot, row
        for callback in sorted(self.callbacks, key=_lightning_order):
            if isinstance(callback, StepLimit):
                callback.steps = self.global_step
            callback.on_train_epoch_end(self, None)
        self.current_epoch += 1

    def log(self, figures: Mapping[str, float], epoch: int, step: int) -> None:
        """Remember values for the loggers, as Lightning would hand them on."""
        self.rows.append(({**figures, "epoch": epoch}, step))

    @property
    def ended(self) -> bool:
        limited = self.max_epochs not in (None, -1) and self.current_epoch >= self.max_epochs
        return self.should_stop or limited

    # ── checkpoints ───────────────────────────────────────────────────────────────────────────────────────────────────

    def save_checkpoint(self, path: str, weights_only: bool = False) -> None:
        """Called by the callbacks where Lightning's Trainer would write the file; here it is kept until it is due."""
        callbacks = {c.state_key: _frozen(state) for c in self.callbacks if (state := c.state_dict())}
        snapshot, row = self._snapshot
        if Path(path).stem == "best":
            self.checkpoints["best"] = self._checkpoint(snapshot, row, callbacks, self.current_epoch)
        else:  # of every epoch, and most are never written: the tensors are copied when they are
            self._last = snapshot, row, callbacks, self.current_epoch

    def write_checkpoints(self) -> None:
        """Write best.ckpt and then last.ckpt, where they have changed; what they hold is of the end of an epoch."""
        if self._last is None:
            return
        self.checkpoints["last"] = self._checkpoint(*self._last)
        for name in ("best", "last"):
            checkpoint = self.checkpoints.get(name)
            if checkpoint is not None and self._written.get(name) != checkpoint["global_step"]:
                WholeCheckpointIO().save_checkpoint(checkpoint, self._path(name))
                self._written[name] = checkpoint["global_step"]
        del self.checkpoints["last"]

    def _path(self, name: str) -> Path:
        callback = next(c for c in self.callbacks if isinstance(c, Checkpoint) and c.filename == name)
        return Path(callback.dirpath) / f"{name}.ckpt"

    def _checkpoint(self, snapshot: Snapshot, row: int, callbacks: dict[str, Any], epoch: int) -> dict[str, Any]:
        """What Lightning's Trainer stores, after `epoch`, counted from 0."""
        weights = {f"network.{name}": value.cpu() for name, value in snapshot.weights_of(row).items()}
        return {
            "epoch": epoch,
            "global_step": (epoch + 1) * self.batches,
            "pytorch-lightning_version": pl.__version__,
            "state_dict": weights,
            "loops": self.loops.after(epoch + 1),
            "callbacks": callbacks,
            "optimizer_states": [snapshot.optimizer_of(row)],
            "lr_schedulers": snapshot.schedulers_of(row),
            "hparams_name": None,
            "hyper_parameters": self.hyper_parameters,
        }


class LoopProgress:
    """What a checkpoint says of Lightning's loops: those of a Trainer that never runs, with the counts filled in.

    Args:
        batches, val_batches: of an epoch.
    """

    def __init__(self, batches: int, val_batches: int) -> None:
        self.batches, self.val_batches = batches, val_batches
        self.trainer = pl.Trainer(
            accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip

    def after(self, epochs: int) -> dict[str, Any]:
        """As they are when the callbacks end epoch number `epochs`."""
        fit, steps = self.trainer.fit_loop, epochs * self.batches
        for progress in (fit.epoch_progress.total, fit.epoch_progress.current):
            _count(progress, epochs)
            progress.completed = epochs - 1  # it is completed after the callbacks
        loop = fit.epoch_loop
        _count(loop.batch_progress.total, steps)
        _count(loop.batch_progress.current, self.batches)
        for progress in (
            loop.manual_optimization.optim_step_progress.total,
            loop.manual_optimization.optim_step_progress.current,
        ):
            _count(progress, steps)
        for progress in (loop.val_loop.batch_progress.total, loop.val_loop.batch_progress.current):
            _count(progress, self.val_batches)
        loop.batch_progress.is_last_batch = loop.val_loop.batch_progress.is_last_batch = True
        names = ("fit_loop", "validate_loop", "test_loop", "predict_loop")
        stored = {name: getattr(self.trainer, name).state_dict() for name in names}
        stored["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"] = steps  # no attribute that is public
        return stored


def _count(progress: Any, number: int) -> None:
    for name in vars(progress):
        setattr(progress, name, number)


def _lightning_order(callback: Callback) -> int:
    """Lightning calls those that look at metrics after the others, and checkpoints after them."""
    return 2 if isinstance(callback, Checkpoint) else int(isinstance(callback, EarlyStopping))


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    """Logged values as callbacks see them: in PyTorch's default type."""
    return dict(zip(figures, torch.tensor(list(figures.values())).tolist(), strict=True))


def _frozen(state: dict[str, Any]) -> dict[str, Any]:
    """A callback's state that the next epochs leave as it is."""
    copied = {k: list(v) if isinstance(v, list) else dict(v) if isinstance(v, dict) else v for k, v in state.items()}
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in copied.items()}
