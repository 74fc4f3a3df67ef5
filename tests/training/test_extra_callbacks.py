"""Lightning's callbacks and the user's own, from `callbacks.extra`, in whole trainings in this process."""

import sys

import pytest
import torch

from safe_exp.runs.checkpoints import read_checkpoint
from safe_exp.sweep.stacked.grouping import reason_to_run_alone
from safe_exp.system.errors import UserError
from safe_exp.training.extra_callbacks import build_extra_callbacks
from tests.commands import read_metrics, read_rows
from tests.made import compose_config
from tests.sweep.stacked.jobs import checkpoint, compose_small, train_alone

MODULE = '''
import numpy
from pytorch_lightning.callbacks import Callback

class Counter(Callback):
    """Counts batches, and writes a line whenever a training begins."""
    def __init__(self, path, step=1):
        self.path, self.step, self.batches = path, step, 0
    def on_train_start(self, trainer, pl_module):
        with open(self.path, "a") as file:
            file.write(f"{trainer.current_epoch} {self.batches}\\n")
    def on_train_batch_end(self, trainer, *arguments):
        self.batches += self.step
    def state_dict(self):
        return {"batches": self.batches}
    def load_state_dict(self, state):
        self.batches = state["batches"]

class NoPlainState(Callback):
    def state_dict(self):
        return {"numbers": numpy.random.default_rng(0)}

class NoPlainStateLater(Callback):
    found = None
    def on_train_epoch_end(self, trainer, pl_module):
        self.found = numpy.float64(1)
    def state_dict(self):
        return {"found": self.found}

class EpochHistory(Counter):
    """Has the name of a callback of the project."""

def no_class(**arguments):
    return None
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's working folder, with a module that can be imported."""
    (tmp_path / "my_callbacks.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_callbacks", None)


def extra(name, target, **arguments):
    values = "".join(f", {key}: {value}" for key, value in arguments.items())
    return f"callbacks.extra.{name}={{_target_: {target}{values}}}"


LIGHTNING = "pytorch_lightning.callbacks"


def test_callbacks_of_a_run_are_called_and_leave_its_weights_alone(folder, monkeypatch):
    """The run with callbacks is compared with one without."""
    overrides = ["trainer.max_epochs=3", "trainer.log_every_n_steps=1"]
    plain = train_alone(compose_small(*overrides), folder / "plain", monkeypatch)
    run = train_alone(
        compose_small(
            *overrides,
            extra("counter", "my_callbacks.Counter", path="begun.txt"),
            extra("gamma", f"{LIGHTNING}.LearningRateMonitor"),
            extra("device", f"{LIGHTNING}.DeviceStatsMonitor", cpu_stats="true"),
            extra("kept", f"{LIGHTNING}.ModelCheckpoint", monitor="val/auroc", mode="max", save_top_k=2),
            extra("again", f"{LIGHTNING}.EarlyStopping", monitor="val/loss_prediction", patience=50),
        ),
        folder / "run",
        monkeypatch,
    )
    for name in ("best", "last"):
        ours, theirs = checkpoint(run, name)["state_dict"], checkpoint(plain, name)["state_dict"]
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert read_metrics(run) == read_metrics(plain)
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")["callbacks"]
    assert state["Counter"] == {"batches": checkpoint(plain)["global_step"]}
    assert sorted(path.suffix for path in (run / "checkpoints" / "kept").iterdir()) == [".ckpt", ".ckpt"]
    assert {path.name for path in (run / "checkpoints").glob("*.ckpt")} == {
        path.name for path in (plain / "checkpoints").glob("*.ckpt")
    }
    logged = read_rows(next((run / "logs").glob("*/metrics.csv")))
    assert any(float(row["lr-SGD"]) == pytest.approx(0.15) for row in logged if row.get("lr-SGD"))
    assert any("cpu_percent" in name for name in logged[0])


def test_a_resumed_run_restores_the_state_of_its_callbacks(folder, monkeypatch):
    callbacks = (
        extra("counter", "my_callbacks.Counter", path="begun.txt", step=10),
        extra("kept", f"{LIGHTNING}.ModelCheckpoint", monitor="val/loss_prediction", save_top_k="-1"),
    )
    for epochs in (2, 4):
        train_alone(compose_small(f"trainer.max_epochs={epochs}", *callbacks), folder / "run", monkeypatch)
    steps = checkpoint(folder / "run")["global_step"]
    begun = [line.split() for line in (folder / "begun.txt").read_text().splitlines()]
    assert begun == [["0", "0"], ["2", str(10 * steps // 2)]]
    state = checkpoint(folder / "run")["callbacks"]
    assert state["Counter"] == {"batches": 10 * steps}
    kept = next(value for key, value in state.items() if key.startswith("ModelCheckpoint"))
    assert len(kept["best_k_models"]) == 4


def test_a_state_that_a_checkpoint_cannot_hold_leaves_the_last_good_one(folder, monkeypatch):
    train_alone(compose_small("trainer.max_epochs=1"), folder / "run", monkeypatch)
    before = (folder / "run" / "checkpoints" / "last.ckpt").read_bytes()
    config = compose_small("trainer.max_epochs=2", extra("late", "my_callbacks.NoPlainStateLater"))
    with pytest.raises(UserError, match=r"NoPlainStateLater: its state cannot be stored in a checkpoint.*numpy"):
        train_alone(config, folder / "run", monkeypatch)
    assert (folder / "run" / "checkpoints" / "last.ckpt").read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"callbacks.extra.mine._target_ must be given: the module and the name of a class"),
        ({"_target_": "my_callbacks.Nothing"}, r"extra.mine._target_=my_callbacks.Nothing: this class cannot be imp"),
        ({"_target_": "nowhere.Counter"}, r"cannot be imported \(No module named 'nowhere'\)"),
        ({"_target_": "my_callbacks.no_class"}, r"no_class: expected a subclass of pytorch_lightning's Callback"),
        ({"_target_": "torch.nn.Linear"}, r"torch.nn.Linear: expected a subclass of pytorch_lightning's Callback"),
        ({"_target_": "my_callbacks.Counter"}, r"callbacks.extra.mine: Counter cannot be built: .*argument: 'path'"),
        ({"_target_": "my_callbacks.Counter", "path": "x", "stepp": 1}, r"unexpected keyword argument 'stepp'"),
        ({"_target_": f"{LIGHTNING}.EarlyStopping", "monitor": "val/loss", "mode": "up"}, r"`mode` can be"),
        ({"_target_": "my_callbacks.Counter", "path": "x", "_partial_": True}, r"builds a .*, and no callback"),
        ({"_target_": "my_callbacks.NoPlainState"}, r"extra.mine: its state cannot be stored in a checkpoint.*numpy"),
        (
            {"_target_": f"{LIGHTNING}.StochasticWeightAveraging", "swa_lrs": 0.1},
            r"so a run would not keep it. Take callbacks.select=average",
        ),
        (
            {"_target_": f"{LIGHTNING}.ModelCheckpoint", "dirpath": "run/checkpoints"},
            r"extra.mine.dirpath=.*the run keeps best.ckpt and last.ckpt there",
        ),
    ],
)
def test_a_callback_that_cannot_be_used_is_refused_with_its_key(settings, message, folder):
    with pytest.raises(UserError, match=message):
        build_extra_callbacks({"mine": settings}, folder / "run")


def test_a_callback_is_refused_before_the_data_are_looked_for(folder, monkeypatch):
    config = compose_config("data=fakenewsnet", "data.root=nowhere", extra("mine", "my.Own"))
    with pytest.raises(UserError, match=r"callbacks.extra.mine._target_=my.Own: this class cannot be imported"):
        train_alone(config, folder / "run", monkeypatch)


@pytest.mark.parametrize(
    "callbacks",
    [
        [extra("a", "my_callbacks.Counter", path="x"), extra("b", "my_callbacks.Counter", path="y")],
        [extra("a", "my_callbacks.EpochHistory", path="x")],
    ],
)
def test_two_callbacks_that_a_checkpoint_could_not_tell_apart_are_refused(callbacks, folder, monkeypatch):
    with pytest.raises(UserError, match=r"callbacks.extra: two callbacks keep their state as (Counter|EpochHistory)"):
        train_alone(compose_small(*callbacks), folder / "run", monkeypatch)


def test_a_job_with_callbacks_is_not_stacked_and_a_refit_by_folds_has_none():
    assert "callbacks.extra" in reason_to_run_alone(compose_config(extra("mine", "my.Own")))
    with pytest.raises(UserError, match=r"callbacks.extra.mine beside refit_from: a refit runs without callbacks"):
        compose_config("refit=true", "refit_from=sweep", extra("mine", "my.Own"))


def test_a_name_without_settings_is_refused():
    with pytest.raises(UserError, match=r"callbacks.extra.mine=3: expected a class and its arguments"):
        compose_config("callbacks.extra.mine=3")


def test_lightning_s_moving_average_is_what_the_checkpoints_hold_and_it_is_resumed(folder, monkeypatch):
    average = extra("average", f"{LIGHTNING}.EMAWeightAveraging", decay=0.5)
    whole = train_alone(compose_small("trainer.max_epochs=4", average), folder / "whole", monkeypatch)
    for epochs in (2, 4):
        train_alone(compose_small(f"trainer.max_epochs={epochs}", average), folder / "parts", monkeypatch)
    plain = train_alone(compose_small("trainer.max_epochs=4"), folder / "plain", monkeypatch)
    last, parts, without = (checkpoint(run) for run in (whole, folder / "parts", plain))
    for name, value in last["state_dict"].items():
        assert torch.equal(value, parts["state_dict"][name])
        assert torch.equal(last["current_model_state"][name], without["state_dict"][name])
    assert any(not torch.equal(value, without["state_dict"][name]) for name, value in last["state_dict"].items())
