"""Progress of a run on the terminal: one bar over the whole training.

If standard error is no terminal, a log line every few seconds takes the place of the bar.
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

SHOWN_FIGURES = {"train/loss": "loss", "val/loss": "val", "val/auroc": "AUROC"}


def progress_callbacks(config: TrainerConfig, prefix: str = "") -> list[Callback]:
    """Build the progress display, or none where the config turns it off: Lightning would refuse to be given one.

    Args:
        prefix: begins its lines.
    """
    return [] if config.enable_progress_bar is False else [TrainingProgress(None, config.max_steps, prefix)]


class TrainingProgress(NoBatchHooks, ProgressBar):
    """Shows one bar over all batches of all epochs, or log lines; shorter bars for validation and test.

    It is a ProgressBar because Lightning adds a bar of its own to a Trainer without one.

    Args:
        console: of the bar; standard error unless given.
        max_steps: trainer.max_steps; None or -1: no limit.
        prefix: begins the lines of the training.
    """

    def __init__(self, console: Console | None = None, max_steps: int | None = None, prefix: str = "") -> None:
        super().__init__()
        self.prefix = prefix
        self.max_steps = None if max_steps == -1 else max_steps
        self._display = Display(log, console)
        self._enabled = True
        self._running = False  # from `_start` to `_stop`; the sanity check before the training shows nothing
        self._done, self._done_before, self._description = 0, 0, ""
        self._total: int | None = None  # batches; None: no limit
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
        done = int(trainer.current_epoch * batches) if trainer.current_epoch else 0  # a resumed run
        self._start(self._describe_epoch(trainer), total, done)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._report_epoch(trainer)
        self._description = self._describe_epoch(trainer)

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        self._done += 1
        self._show_if_due()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._unreported_epoch = True  # shown by the next hook: the module logs its means after this one

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
        self._stop()  # else the bar's thread would draw over the error message

    def _start(self, description: str, total: float, done: int = 0, transient: bool = False) -> None:
        self._description, self._done, self._figures = description, done, ""
        self._total = None if math.isinf(total) else int(total)
        self._done_before = done
        self._running = self._enabled
        if self._running:
            self._display.start(description, self._total, done, figures=True, transient=transient)

    def _show_if_due(self) -> None:
        """Show the progress if it is time to; all that a batch costs is a look at the clock."""
        if self._running and self._display.due():
            self._show()

    def _show(self) -> None:
        if self._running:
            self._display.show(self._done, self._line(), description=self._description, figures=self._figures)

    def _line(self) -> str:
        """Describe the progress in one log line."""
        total = f"/{self._total}" if self._total else ""
        seconds = self._display.seconds()
        line = f"{self._description}, batch {self._done}{total}, {seconds:.0f} s"
        fresh = self._done - self._done_before
        if self._total and 0 < self._done < self._total and fresh:
            line += f", at most {seconds / fresh * (self._total - self._done):.0f} s left"
        return f"{line}: {self._figures}" if self._figures else line

    def _report_epoch(self, trainer: Trainer, last: bool = False) -> None:
        """Take over the figures of an epoch that has ended; the first and the last are shown at once."""
        if not self._unreported_epoch:
            return
        self._unreported_epoch = False
        self._epochs_reported += 1
        values = trainer.callback_metrics
        found = [f"{name} {float(values[key]):.3f}" for key, name in SHOWN_FIGURES.items() if key in values]
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

    def _describe_epoch(self, trainer: Trainer) -> str:
        most = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else "∞"
        epoch = f"Epoch {trainer.current_epoch + 1}/{most}"
        return f"{self.prefix}{epoch[0].lower()}{epoch[1:]}" if self.prefix else epoch
