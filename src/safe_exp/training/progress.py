"""What the terminal shows of a run: one bar over the whole training, and a table of results at its end.

Where no one watches (standard error is a file or a pipe) the bar becomes a log line every few seconds.
"""

import logging
import math
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console

from safe_exp.config import TrainerConfig
from safe_exp.system.terminal import Display
from safe_exp.training.hooks import NoBatchHooks

log = logging.getLogger(__name__)

SHOWN = {"train/loss": "loss", "val/loss": "val", "val/auroc": "AUROC"}


def progress_callbacks(config: TrainerConfig) -> list[Callback]:
    """The progress display, unless the config turns it off; Lightning refuses to be given one that is turned off."""
    return [] if config.enable_progress_bar is False else [TrainingProgress(max_steps=config.max_steps)]


class TrainingProgress(NoBatchHooks, ProgressBar):  # Lightning adds a bar of its own beside any other kind of callback
    """One bar over max_epochs times the batches of an epoch, or log lines; shorter ones for validation and test."""

    def __init__(self, console: Console | None = None, max_steps: int | None = None) -> None:
        super().__init__()
        self.max_steps = None if max_steps == -1 else max_steps
        self._display = Display(log, console)
        self._enabled = True
        self._running = False  # between a start and its end; the sanity check before the training shows nothing
        self._done, self._done_before, self._total, self._description = 0, 0, None, ""
        self._figures = ""
        self._unreported_epoch = False
        self._epochs_reported = 0

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._stop()
        self._enabled = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if not trainer.is_global_zero:
            self.disable()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches = trainer.num_training_batches
        total = batches * trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else math.inf
        total = min(total, self.max_steps or math.inf)
        self._epochs_reported, self._unreported_epoch = 0, False
        done = trainer.current_epoch * batches if trainer.current_epoch else 0  # a resumed run
        self._start(_epoch_of(trainer), total, done)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._report_epoch(trainer)
        self._description = _epoch_of(trainer)

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        self._done += 1
        self._show_if_due()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._unreported_epoch = True  # the module logs its means after this hook; the next hook sees them

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._report_epoch(trainer, last=True)
        self._stop()

    def on_validation_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        if trainer.state.fn != "fit":
            self._done += 1
        self._show_if_due()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit":
            self._start("Validation", sum(trainer.num_val_batches), transient=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit":
            self._stop()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start("Test", sum(trainer.num_test_batches), transient=True)

    def on_test_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        self._done += 1
        self._show_if_due()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()  # else the bar's thread would go on drawing over the error message

    def _start(self, description: str, total: float, done: int = 0, transient: bool = False) -> None:
        self._description, self._done, self._figures = description, done, ""
        self._total = None if math.isinf(total) else int(total)
        self._done_before = done
        self._running = self._enabled
        if self._running:
            self._display.start(description, self._total, done, figures=True, transient=transient)

    def _show_if_due(self) -> None:
        """The only work for each batch: a look at the clock."""
        if self._running and self._display.due():
            self._show()

    def _show(self) -> None:
        if self._running:
            self._display.show(self._done, self._line(), description=self._description, figures=self._figures)

    def _line(self) -> str:
        of_total = f"/{self._total}" if self._total else ""
        seconds = self._display.seconds()
        line = f"{self._description}, batch {self._done}{of_total}, {seconds:.0f} s"
        fresh = self._done - self._done_before
        if self._total and 0 < self._done < self._total and fresh:
            line += f", at most {seconds / fresh * (self._total - self._done):.0f} s left"
        return f"{line}: {self._figures}" if self._figures else line

    def _report_epoch(self, trainer: Trainer, last: bool = False) -> None:
        if not self._unreported_epoch:
            return
        self._unreported_epoch = False
        self._epochs_reported += 1
        values = trainer.callback_metrics
        found = [f"{name} {float(values[key]):.3f}" for key, name in SHOWN.items() if key in values]
        self._figures = " ".join(found)
        if self._display.bar or last or self._epochs_reported == 1:
            self._show()
        else:
            self._show_if_due()

    def _stop(self) -> None:
        if self._display.bar:
            self._show()
        self._display.stop()
        self._running = False


def _epoch_of(trainer: Trainer) -> str:
    most = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else "∞"
    return f"Epoch {trainer.current_epoch + 1}/{most}"
