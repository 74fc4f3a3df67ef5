"""The progress display: one bar on a terminal, few lines in a log file, nothing where it is turned off."""

import io
import logging
import re
import threading
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from rich.console import Console
from torch.utils.data import DataLoader

from safe_exp.config import TrainerConfig
from safe_exp.scoring.table import print_results
from safe_exp.system.terminal import LINE_SECONDS
from safe_exp.training.progress import TrainingProgress, progress_callbacks

SCORES = {
    "accuracy": 0.8125,
    "precision": 0.75,
    "recall": None,
    "f1": 0.7,
    "f1_macro": 0.69,
    "auroc": float("nan"),
    "average_precision": 0.88,
    "brier": 0.13,
    "ece": 0.05,
}
SPLIT = {
    "loss": 0.5123,
    "loss_prediction": 0.61,
    "loss_similarity": 0.3,
    "prediction": SCORES,
    "similarity": {**SCORES, "accuracy": 0.4375},
}


class OneWeight(LightningModule):
    """The smallest module that trains and logs as SafeModule does."""

    def __init__(self, fails_in_epoch=None):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.fails_in_epoch = fails_in_epoch

    def training_step(self, batch, batch_idx):
        if self.current_epoch == self.fails_in_epoch:
            raise RuntimeError("a fault in the training step")
        self.log("train/loss", 0.25, on_step=False, on_epoch=True)
        return self.layer(batch).square().mean()

    def validation_step(self, batch, batch_idx):
        self.log_dict({"val/loss": 0.5, "val/auroc": 0.75})

    def test_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def clock(monkeypatch):
    """A clock for the test to move; each reading moves it on by `clock.step` seconds."""
    clock = SimpleNamespace(now=0.0, step=0.0)

    def monotonic():
        clock.now += clock.step
        return clock.now

    monkeypatch.setattr("safe_exp.system.terminal.time", SimpleNamespace(monotonic=monotonic))
    return clock


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="safe_exp.training.progress")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "safe_exp.training.progress"]


def batches(count):
    return DataLoader(torch.ones(count, 1), batch_size=1)


def make_trainer(epochs, progress):
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[progress],
    )


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=80)


def plain_text(console):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def test_a_quick_run_without_a_terminal_logs_its_first_and_last_epoch_only(clock, lines):
    make_trainer(4, TrainingProgress(Console(file=io.StringIO()))).fit(OneWeight(), batches(5), batches(2))
    first, last = lines()
    assert first.startswith("Epoch 1/4, batch 5/20")
    assert last.startswith("Epoch 4/4, batch 20/20")
    for line in (first, last):
        assert line.endswith("loss 0.250 val 0.500 AUROC 0.750")


def test_a_slow_run_logs_a_line_every_few_seconds_and_no_more(clock, lines):
    clock.step = 1.0
    make_trainer(2, TrainingProgress(Console(file=io.StringIO()))).fit(OneWeight(), batches(30), batches(2))
    looks = clock.now
    at_most = looks / LINE_SECONDS + 2
    assert 0.5 * at_most < len(lines()) <= at_most
    assert re.search(r"at most \d+ s left", lines()[1])


def test_a_long_test_gives_signs_of_life(clock, lines):
    clock.step = 1.0
    make_trainer(1, TrainingProgress(Console(file=io.StringIO()))).test(OneWeight(), batches(20), verbose=False)
    assert len(lines()) >= 2
    assert all(line.startswith("Test, batch ") for line in lines())


def test_a_terminal_shows_one_bar_over_all_epochs():
    console = terminal()
    make_trainer(3, TrainingProgress(console)).fit(OneWeight(), batches(4), batches(2))
    last = [line for line in re.split(r"[\r\n]+", plain_text(console)) if line.strip()][-1]
    assert last.startswith("Epoch 3/3")
    assert "12/12" in last
    assert "loss 0.250 val 0.500 AUROC 0.750" in last
    assert len(last) <= 80


def test_a_fault_ends_the_bar():
    before = set(threading.enumerate())
    console = terminal()
    with pytest.raises(RuntimeError, match="a fault in the training step"):
        make_trainer(2, TrainingProgress(console)).fit(OneWeight(fails_in_epoch=1), batches(2))
    for thread in set(threading.enumerate()) - before:  # the bar is drawn by one, which has been told to end
        thread.join(timeout=5)
        assert not thread.is_alive()
    assert "\x1b[?25h" in console.file.getvalue()  # the cursor is back


def test_other_processes_than_the_first_are_silent(lines):
    console = terminal()
    progress = TrainingProgress(console)
    trainer = SimpleNamespace(
        is_global_zero=False, num_training_batches=2, max_epochs=1, max_steps=-1, current_epoch=0, callback_metrics={}
    )
    progress.setup(trainer, None, "fit")
    progress.on_train_start(trainer, None)
    progress.on_train_epoch_end(trainer, None)
    progress.on_train_end(trainer, None)
    assert console.file.getvalue() == ""
    assert lines() == []


@pytest.mark.parametrize(("off", "count"), [({"enable_progress_bar": False}, 0), ({}, 1)])
def test_the_display_can_be_turned_off(off, count):
    config = TrainerConfig(accelerator="cpu", strategy="auto", devices=1, **off)
    assert len(progress_callbacks(config)) == count
    Trainer(accelerator="cpu", logger=False, callbacks=progress_callbacks(config), **off)  # Lightning agrees


def test_a_resumed_run_begins_where_it_stopped():
    progress = TrainingProgress(terminal())
    trainer = SimpleNamespace(num_training_batches=10, max_epochs=5, max_steps=-1, current_epoch=3)
    progress.on_train_start(trainer, None)
    (task,) = progress._display.bar.tasks
    progress._display.bar.stop()
    assert (task.completed, task.total, task.description) == (30, 50, "Epoch 4/5")


def test_an_endless_training_has_no_total():
    progress = TrainingProgress(terminal())
    progress.on_train_start(
        SimpleNamespace(num_training_batches=10, max_epochs=-1, max_steps=-1, current_epoch=0), None
    )
    (task,) = progress._display.bar.tasks
    progress._display.bar.stop()
    assert (task.total, task.description) == (None, "Epoch 1/∞")


def test_results_stand_in_a_table_that_fits_80_columns():
    console = Console(file=io.StringIO(), width=80)
    print_results({"val": SPLIT, "test": SPLIT, "epochs": 3}, console, {"val": 0.6, "test": 0.55})
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text  # nothing was cut
    assert cells(text, "accuracy") == ["0.812", "0.438", "0.812", "0.438"]
    assert cells(text, "majority rate") == ["0.600", "0.600", "0.550", "0.550"]
    assert cells(text, "loss L ↓") == ["0.512", "–", "0.512", "–"]
    assert cells(text, "loss L_s ↓") == ["–", "0.300", "–", "0.300"]


def test_a_missing_or_undefined_figure_is_a_dash():
    console = Console(file=io.StringIO(), width=80)
    print_results({"val": {**SPLIT, "similarity": None}, "test": SPLIT}, console)
    text = console.file.getvalue()
    assert cells(text, "AUROC") == ["–", "–", "–", "–"]
    assert cells(text, "F1 of fake") == ["0.700", "–", "0.700", "0.700"]
    assert "majority" not in text


def test_a_variant_without_similarity_has_no_column_for_it():
    split = {**SPLIT, "similarity": None, "loss_similarity": None}
    console = Console(file=io.StringIO(), width=80)
    print_results({"val": split, "test": split}, console)
    assert cells(console.file.getvalue(), "accuracy") == ["0.812", "0.812"]
    assert "similarity" not in console.file.getvalue()
    assert "L_s" not in console.file.getvalue()


def cells(text, label):
    (row,) = [line for line in text.splitlines() if line.strip("│ ").startswith(label)]
    return [cell.strip() for cell in row.strip("│").split("│")[1:]]
