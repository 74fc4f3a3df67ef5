"""One job of a stack: its folder, state, callbacks and checkpoints."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytorch_lightning as pl
import torch
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, Checkpoint, EarlyStopping, ModelCheckpoint
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from safe_exp.config import LossSettings, Select, TrainConfig, plain_config
from safe_exp.runs.command_line import command_line
from safe_exp.runs.folder import locked_folder
from safe_exp.runs.job import interruption_note
from safe_exp.runs.log_file import log_file
from safe_exp.runs.names import name_job, name_sweep
from safe_exp.runs.status import JobRecord
from safe_exp.runs.stored_run import NETWORK_PREFIX
from safe_exp.scoring.scores import ScoredSplit
from safe_exp.sweep.stacked.loops import LoopProgress
from safe_exp.sweep.stacked.model import Snapshot
from safe_exp.system.errors import UserError
from safe_exp.system.files import whole_file
from safe_exp.training.averaging import AveragedWeights
from safe_exp.training.callbacks import build_callbacks
from safe_exp.training.hooks import CallbackType, find_callbacks
from safe_exp.training.selection import Choice, EpochOutputs, choose_weights
from safe_exp.training.stopping import StepLimit
from safe_exp.training.writing import epoch_history

log = logging.getLogger(__name__)


class StackedJob:
    """A job of a stack, with its record in status.json from start to end.

    Args:
        number: of the job in the sweep.
        prepared: Hydra's result for the job, whose status and return value are set when it ends.
        config: of the job.
        start: Hydra's own section of the job's config.
    """

    def __init__(self, number: int, prepared: JobReturn, config: TrainConfig, start: DictConfig) -> None:
        self.number, self.prepared, self.config = number, prepared, config
        self.folder = Path(start.runtime.output_dir)
        self.name, self.sweep = name_job(start), name_sweep(start)
        self.record: JobRecord | None = None
        self.run: FollowedRun | None = None  # while it is trained
        self._resources = ExitStack()

    def begin(self, code: dict[str, Any]) -> None:
        """Lock the job's folder and open its status.json.

        Args:
            code: from `running_code`.
        Raises:
            UserError: another process works in the folder.
        """
        self._resources.enter_context(locked_folder(self.folder))
        self.record = JobRecord(self.folder, command_line(), code)

    @contextmanager
    def logging_to_its_file(self) -> Iterator[None]:
        """Write what the block logs into the job's log file; only warnings and errors reach the terminal."""
        with _quiet_terminal(), log_file(self.folder):
            yield

    def finished(self, score: float) -> None:
        """Record that the job finished, with its score, and unlock its folder."""
        self.prepared.return_value = score
        self.prepared.status = JobStatus.COMPLETED
        if self.record is not None:
            self.record.finished()
        self._resources.close()

    def failed(self, error: BaseException) -> None:
        """Record the error that ended the job, as `recorded_job` does, and unlock its folder."""
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
def _quiet_terminal() -> Iterator[None]:
    """Let only warnings and errors pass the present log handlers during the block."""
    levels = [(handler, handler.level) for handler in logging.getLogger().handlers]
    for handler, level in levels:
        handler.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        for handler, level in levels:
            handler.setLevel(level)


class FollowedRun:
    """One run of a stack, which takes the Trainer's place in its callbacks.

    History, convergence, early stopping and best epoch then come from the same code as in a job that runs alone.

    Args:
        config: of the job.
        folder: of the job.
        batches: in an epoch.
        loops: builds the state of Lightning's loops for the checkpoints.
    """

    fast_dev_run = sanity_checking = False
    is_last_batch = is_global_zero = True
    loggers: tuple[()] = ()
    state = SimpleNamespace(fn=TrainerFn.FITTING)
    strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, all=True: decision)

    def __init__(self, config: TrainConfig, folder: Path, batches: int, loops: LoopProgress) -> None:
        self.settings = config.callbacks
        self.callbacks = build_callbacks(config.callbacks, folder)
        self.max_epochs = config.trainer.max_epochs
        self.monitor = config.callbacks.monitor
        self.hyper_parameters = {"model": plain_config(config.model), "optimizer": plain_config(config.optimizer)}
        self.batches, self.loops = batches, loops
        self.current_epoch = self.global_step = 0
        self.should_stop = False
        self.callback_metrics: dict[str, Any] = {}
        self.fit_loop = SimpleNamespace(epoch_progress=SimpleNamespace(current=SimpleNamespace(processed=0)))
        self.rows: list[tuple[dict[str, float], int]] = []  # logged values and their step
        self.checkpoints: dict[str, dict[str, Any]] = {}  # the latest of each name; tensors of this run alone
        self._last: tuple[Snapshot, int, dict[str, Any], int] | None = None
        self._written: dict[str, int] = {}  # global_step of each file in the folder

    @property
    def as_trainer(self) -> pl.Trainer:
        """This run, typed as the Trainer whose place it takes."""
        return cast(pl.Trainer, self)

    @property
    def history(self) -> list[dict[str, float]]:
        """The logged values of each epoch."""
        return epoch_history(self.as_trainer)

    def end_epoch(self, figures: Mapping[str, float], scored: ScoredSplit, snapshot: Snapshot, row: int) -> None:
        """End an epoch as Lightning would: log its figures and call the callbacks.

        Args:
            figures: of training and validation, by logged name.
            scored: the validation articles.
            snapshot: of the whole stack, after the schedulers' step.
            row: of this run in the snapshot.
        """
        self.global_step += self.batches
        self.fit_loop.epoch_progress.current.processed += 1
        for stage in ("train/", "val/"):
            logged = {name: value for name, value in figures.items() if name.startswith(stage)}
            self.log(logged, self.current_epoch, self.global_step - 1)
        # Only the monitored figure must be a tensor, for the callbacks that compare it. The others are numbers, because
        # callbacks copy all figures in each epoch.
        now = _rounded(figures)
        self.callback_metrics = now | {self.monitor: torch.tensor(now[self.monitor])}
        self._snapshot = snapshot, row
        module = cast(pl.LightningModule, _EndedEpoch(snapshot, row, scored))
        for callback in sorted(self.callbacks, key=_lightning_order):
            if isinstance(callback, StepLimit):
                callback.steps = self.global_step
            callback.on_train_epoch_end(self.as_trainer, module)
        self.current_epoch += 1

    def choose(self, loss: LossSettings, publishers: int | None) -> Choice:
        """Choose the weights that the run keeps, after its last epoch; arguments as in `choose_weights`."""
        return choose_weights(self.settings, self._find(EpochOutputs), self.current_epoch, loss, publishers)

    def kept_weights(self, choice: Choice) -> dict[str, Tensor]:
        """Return the weights of the choice, as a state dict."""
        if choice.rule is Select.best:
            return cast("dict[str, Tensor]", self.checkpoints["best"]["state_dict"])
        snapshot, row = self._snapshot
        state = {f"{NETWORK_PREFIX}{name}": value for name, value in snapshot.copy_weights(row).items()}
        return self._find(AveragedWeights).fill(state) if choice.rule is Select.average else state

    def _find(self, kind: type[CallbackType]) -> CallbackType:
        return find_callbacks(self.as_trainer, kind)[0]

    def log(self, figures: Mapping[str, float], epoch: int, step: int) -> None:
        """Keep values for the loggers, as Lightning would log them."""
        self.rows.append(({**figures, "epoch": epoch}, step))

    @property
    def ended(self) -> bool:
        """True once a callback or trainer.max_epochs has ended the run."""
        limited = self.max_epochs not in (None, -1) and self.current_epoch >= self.max_epochs
        return self.should_stop or limited

    # ── checkpoints ───────────────────────────────────────────────────────────────────────────────────────────────────

    def save_checkpoint(self, path: str, weights_only: bool = False) -> None:
        """Keep a checkpoint for `write_checkpoints`; callbacks call this, and Lightning's Trainer would write it."""
        callbacks = {c.state_key: _copy_state(state) for c in self.callbacks if (state := c.state_dict())}
        snapshot, row = self._snapshot
        if Path(path).stem == "best":
            self.checkpoints["best"] = self._checkpoint(snapshot, row, callbacks, self.current_epoch)
        else:  # last.ckpt, of every epoch; few are written, so its tensors are copied only then
            self._last = snapshot, row, callbacks, self.current_epoch

    def write_checkpoints(self) -> None:
        """Write best.ckpt and then last.ckpt, if they have changed since they were written."""
        for path, content in self.checkpoint_files().items():
            with whole_file(path) as draft:
                draft.write_bytes(content)

    def checkpoint_files(self) -> dict[Path, bytes]:
        """Return best.ckpt and then last.ckpt, if they have changed since this was called; the caller writes them."""
        if self._last is None:
            return {}
        latest = {name: self.checkpoints[name] for name in ("best",) if name in self.checkpoints}
        latest["last"] = self._checkpoint(*self._last)
        files = {}
        for name, checkpoint in latest.items():
            if self._written.get(name) != checkpoint["global_step"]:
                whole = {**checkpoint, "loops": self.loops.state_after(checkpoint["epoch"] + 1)}
                buffer = io.BytesIO()
                torch.save(whole, buffer)
                files[self._path(name)] = buffer.getvalue()
                self._written[name] = checkpoint["global_step"]
        return files

    def _path(self, name: str) -> Path:
        """Return the path at which a callback writes best.ckpt or last.ckpt."""
        callback = next(c for c in self.callbacks if isinstance(c, ModelCheckpoint) and c.filename == name)
        return Path(callback.dirpath) / f"{name}.ckpt"

    def _checkpoint(self, snapshot: Snapshot, row: int, callbacks: dict[str, Any], epoch: int) -> dict[str, Any]:
        """Build the checkpoint that Lightning's Trainer would write, except the state of the loops.

        Args:
            snapshot: of the whole stack.
            row: of this run in the snapshot.
            callbacks: the state of each callback, by its key.
            epoch: that has ended, counted from 0.
        """
        weights = {f"{NETWORK_PREFIX}{name}": value.cpu() for name, value in snapshot.copy_weights(row).items()}
        return {
            "epoch": epoch,
            "global_step": (epoch + 1) * self.batches,
            "pytorch-lightning_version": pl.__version__,
            "state_dict": weights,
            "loops": None,  # follows from the epoch, when the file is written
            "callbacks": callbacks,
            "optimizer_states": [snapshot.optimizer_state(row)],
            "lr_schedulers": snapshot.scheduler_states(row),
            "hparams_name": None,
            "hyper_parameters": self.hyper_parameters,
        }


class _EndedEpoch:
    """The parts of a module that callbacks read at the end of an epoch.

    Args:
        snapshot: of the whole stack.
        row: of the run in the snapshot.
        scored: the validation articles.
    """

    def __init__(self, snapshot: Snapshot, row: int, scored: ScoredSplit) -> None:
        self.scored = {"val": scored}
        self.network = self
        self._snapshot, self._row = snapshot, row

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the run's parameters, each in the shape that it has in one network, by name."""
        for name, value in self._snapshot.parameters.items():
            yield name, value[self._row]


def _lightning_order(callback: Callback) -> int:
    """Rank a callback in Lightning's order of calls: checkpoints last, early stopping before them."""
    return 2 if isinstance(callback, Checkpoint) else int(isinstance(callback, EarlyStopping))


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    """Round logged values to PyTorch's default type, in which Lightning keeps them."""
    return dict(zip(figures, torch.tensor(list(figures.values())).tolist(), strict=True))


def _copy_state(state: dict[str, Any]) -> dict[str, Any]:
    """Copy a callback's state, so that later epochs do not change it."""
    copied = {k: list(v) if isinstance(v, list) else dict(v) if isinstance(v, dict) else v for k, v in state.items()}
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in copied.items()}
