"""Trainings end by each of their conditions, and record which one it was."""

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer

from safe_exp.equations import safe_loss
from safe_exp.runs.checkpoints import best_epoch_path, keep_weights
from safe_exp.system.errors import UserError
from safe_exp.training.averaging import AveragedWeights
from safe_exp.training.callbacks import EpochHistory, WholeCheckpointIO, build_callbacks
from safe_exp.training.hooks import find_callbacks
from safe_exp.training.selection import EpochOutputs
from safe_exp.training.stopping import Convergence, stopped_by
from tests.made import compose_config, draw_batch, draw_module, loader


class AnHourPasses(pl.Callback):
    """Moves the clock of trainer.max_time on by an hour during the third batch."""

    def on_train_batch_start(self, trainer, *arguments):
        if trainer.global_step == 2:
            for timer in (callback for callback in trainer.callbacks if isinstance(callback, Timer)):
                timer._offset += 3600


class KeepWeights(pl.Callback):
    """Writes the weights with which each epoch starts."""

    def __init__(self, folder):
        self.path = folder / "before.ckpt"

    def on_train_epoch_start(self, trainer, pl_module):
        self.path.parent.mkdir(exist_ok=True)
        torch.save(pl_module.state_dict(), self.path)


def train(tmp_path, *overrides, resume=False, max_steps=None, **arguments):
    """Train a small network in epochs of two batches, with the callbacks of a run."""
    config = compose_config(*overrides)
    callbacks = [*build_callbacks(config.callbacks, tmp_path, max_steps), KeepWeights(tmp_path), AnHourPasses()]
    trainer = pl.Trainer(
        max_epochs=config.trainer.max_epochs, accelerator="cpu", logger=False, callbacks=callbacks,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, plugins=[WholeCheckpointIO()],
        **arguments,
    )  # fmt: skip
    batches = [draw_batch(seed=seed) for seed in range(2)]
    last = tmp_path / "checkpoints" / "last.ckpt"
    trainer.fit(draw_module(*overrides), loader(*batches), loader(*batches), ckpt_path=last if resume else None)
    return trainer


@pytest.mark.parametrize(
    ("losses", "tolerance", "patience", "ends_after"),
    [
        ([1.0, 0.5, 0.499, 0.4985, 0.3], 0.01, 2, 4),  # two still epochs in a row
        ([1.0, 0.999, 0.5, 0.4999, 0.4998, 0.4997], 0.01, 3, 6),  # a jump starts the count anew
        ([1.0, 1.0, 1.0, 1.0], 0.01, 0, None),  # patience 0: never
        ([1.0, 1.5, 0.5, 1.5], 0.01, 1, None),
    ],
)
def test_convergence_counts_still_epochs(losses, tolerance, patience, ends_after):
    class Trainer:
        should_stop, is_last_batch, callbacks, max_epochs, max_steps = False, True, [], 9, -1

    callback, trainer, ended = Convergence(tolerance, patience), Trainer(), None
    for epoch, loss in enumerate(losses, start=1):
        trainer.callback_metrics = {"train/loss": torch.tensor(loss)}
        callback.on_train_epoch_end(trainer, None)
        if trainer.should_stop and ended is None:
            ended = epoch
    assert ended == ends_after


def test_a_run_ends_when_the_loss_stands_still_and_says_so(tmp_path):
    trainer = train(tmp_path, "model.gamma=1e-9", "trainer.max_epochs=50")
    assert stopped_by(trainer) == "converged"
    assert trainer.current_epoch == 4  # the first epoch has nothing to compare with; then three still ones


def test_a_run_ends_when_validation_stops_improving_and_says_so(tmp_path):
    trainer = train(
        tmp_path, "callbacks.early_stopping.patience=2", "callbacks.early_stopping.min_delta=100",
        "callbacks.convergence.patience=0", "trainer.max_epochs=50",
    )  # fmt: skip
    assert stopped_by(trainer) == "early_stopping"
    assert trainer.current_epoch == 3


ENDS = {
    "converged": ["model.gamma=1e-9"],
    "early_stopping": [
        "callbacks.early_stopping.patience=2", "callbacks.early_stopping.min_delta=100",
        "callbacks.convergence.patience=0",
    ],
}  # fmt: skip


@pytest.mark.parametrize("reason", ENDS)
def test_a_run_that_had_ended_takes_no_further_step_when_it_is_resumed(reason, tmp_path):
    """Such a run was killed after its last checkpoint and before metrics.json."""
    ended = train(tmp_path, *ENDS[reason], "trainer.max_epochs=50")
    resumed = train(tmp_path, *ENDS[reason], "trainer.max_epochs=50", resume=True)
    assert ended.global_step == resumed.global_step > 0
    assert stopped_by(resumed) == reason
    for name, value in ended.lightning_module.state_dict().items():
        assert torch.equal(resumed.lightning_module.state_dict()[name], value)
    assert resumed.callbacks[0].epochs == ended.callbacks[0].epochs


@pytest.mark.parametrize("reason", ENDS)
def test_under_a_raised_limit_a_run_that_had_ended_trains_on_and_says_what_ends_it_then(reason, tmp_path):
    ended = train(tmp_path, *ENDS[reason], "trainer.max_epochs=50")
    extended = train(tmp_path, *ENDS[reason], f"trainer.max_epochs={ended.current_epoch + 50}", resume=True)
    assert extended.current_epoch == ended.current_epoch + (3 if reason == "converged" else 2)  # counted anew
    assert stopped_by(extended) == reason
    once_more = train(tmp_path, *ENDS[reason], f"trainer.max_epochs={ended.current_epoch + 50}", resume=True)
    assert once_more.global_step == extended.global_step


def test_a_converged_run_that_is_extended_to_its_new_limit_says_max_epochs(tmp_path):
    ended = train(tmp_path, "model.gamma=1e-9", "trainer.max_epochs=4")
    assert stopped_by(ended) == "converged"
    assert stopped_by(train(tmp_path, "model.gamma=1e-9", "trainer.max_epochs=5", resume=True)) == "max_epochs"


CUT_SHORT = {
    "max_steps": dict(max_steps=3),  # of two batches an epoch
    "max_time": dict(max_time="00:00:30:00"),
}


@pytest.mark.parametrize("reason", CUT_SHORT)
def test_a_run_that_ends_within_an_epoch_has_that_part_s_figures_validation_and_checkpoints(reason, tmp_path):
    trainer = train(tmp_path, "trainer.max_epochs=9", **CUT_SHORT[reason])
    assert stopped_by(trainer) == reason
    assert trainer.global_step == 3
    whole, part = trainer.callbacks[0].epochs
    first = draw_batch(seed=0)
    with torch.no_grad():  # the last epoch's figures are those of its only batch, at the weights before it
        module = draw_module()
        before = torch.load(tmp_path / "before.ckpt", weights_only=True)
        module.load_state_dict(before)
        loss = safe_loss(module.network(**module.embed(first)), first.label, **module.loss_settings).total
    assert part["train/loss"] == pytest.approx(float(loss), rel=1e-6)
    assert part["val/loss"] != whole["val/loss"]  # not the value of the epoch before
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 3
    resumed = train(tmp_path, "trainer.max_epochs=9", resume=True, **CUT_SHORT[reason])
    assert (resumed.global_step, stopped_by(resumed)) == (3, reason)


@pytest.mark.parametrize("reason", CUT_SHORT)
def test_a_run_that_ended_within_an_epoch_is_not_trained_further(reason, tmp_path):
    train(tmp_path, "trainer.max_epochs=9", **CUT_SHORT[reason])
    with pytest.raises(UserError, match=r"ended within an epoch .* Start a new run with the higher limit"):
        train(tmp_path, "trainer.max_epochs=9", resume=True)


def test_a_step_limit_at_the_end_of_an_epoch_can_be_raised(tmp_path):
    overrides = "trainer.max_epochs=9", "callbacks.convergence.patience=0"
    assert stopped_by(train(tmp_path / "a", *overrides, max_steps=4)) == "max_steps"
    extended = train(tmp_path / "a", *overrides, max_steps=8, resume=True)
    whole = train(tmp_path / "b", *overrides, max_steps=8)
    assert extended.global_step == 8
    for name, value in whole.lightning_module.state_dict().items():
        assert torch.equal(extended.lightning_module.state_dict()[name], value)


SCHEDULES = {
    "cosine": ["scheduler=cosine", "scheduler.T_max=6"],
    "onecycle": ["scheduler=onecycle", "scheduler.epochs=6", "optimizer=adam"],
}


@pytest.mark.parametrize(("schedule", "max_steps"), [("cosine", None), ("cosine", 11), ("onecycle", None)])
def test_a_resumed_run_goes_through_each_epoch_s_end_once(schedule, max_steps, tmp_path):
    """The run is resumed as if it was killed after its second epoch."""
    overrides = "callbacks.convergence.patience=0", *SCHEDULES[schedule]
    whole = train(tmp_path / "whole", *overrides, "trainer.max_epochs=6", max_steps=max_steps)
    train(tmp_path / "killed", *overrides, "trainer.max_epochs=2")
    resumed = train(tmp_path / "killed", *overrides, "trainer.max_epochs=6", max_steps=max_steps, resume=True)
    assert [epoch["epoch"] for epoch in resumed.callbacks[0].epochs] == list(range(6))
    assert resumed.global_step == whole.global_step == (max_steps or 12)
    for name, value in whole.lightning_module.state_dict().items():
        assert torch.equal(resumed.lightning_module.state_dict()[name], value)


def test_what_the_choice_of_weights_needs_survives_a_resume_bit_for_bit(tmp_path):
    overrides = "callbacks.convergence.patience=0", "callbacks.select=average"
    whole = train(tmp_path / "whole", *overrides, "trainer.max_epochs=6")
    train(tmp_path / "killed", *overrides, "trainer.max_epochs=2")
    resumed = train(tmp_path / "killed", *overrides, "trainer.max_epochs=6", resume=True)
    ours, theirs = (find_callbacks(trainer, AveragedWeights)[0] for trainer in (resumed, whole))
    assert ours.epochs == theirs.epochs == 6
    for name, value in theirs.weights.items():
        assert torch.equal(ours.weights[name], value)
    ours, theirs = (find_callbacks(trainer, EpochOutputs)[0] for trainer in (resumed, whole))
    assert (ours.epochs, ours.best_epoch, ours.best_value) == (theirs.epochs, theirs.best_epoch, theirs.best_value)
    for name in ("first", "best"):
        for mine, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert torch.equal(mine, other)


def test_kept_weights_leave_the_best_epoch_s_beside_them_until_the_run_trains_on(tmp_path):
    overrides = "callbacks.convergence.patience=0", "model.gamma=2.0"
    train(tmp_path, *overrides, "trainer.max_epochs=3")
    folder = tmp_path / "checkpoints"
    best = torch.load(folder / "best.ckpt", weights_only=True)
    weights = {name: value + 1 for name, value in best["state_dict"].items()}
    for _ in range(2):  # killed after the first time, and resumed
        train(tmp_path, *overrides, "trainer.max_epochs=3", resume=True)
        keep_weights(folder, weights, "average")
        kept, stored = (torch.load(path, weights_only=True) for path in (folder / "best.ckpt", best_epoch_path(folder)))
        assert (kept["kept"], kept["epoch"], stored["epoch"]) == ("average", 2, best["epoch"])
        for name, value in weights.items():
            assert torch.equal(kept["state_dict"][name], value)
            assert torch.equal(stored["state_dict"][name], best["state_dict"][name])
    history = train(tmp_path, *overrides, "trainer.max_epochs=4", resume=True).callbacks[0].epochs
    assert not (folder / "best_epoch.ckpt").exists()
    values = [epoch["val/loss_prediction"] for epoch in history]
    assert torch.load(folder / "best.ckpt", weights_only=True)["epoch"] == values.index(min(values))


def test_a_run_ends_at_its_limit_and_says_so(tmp_path):
    assert stopped_by(train(tmp_path, "trainer.max_epochs=2")) == "max_epochs"
    assert stopped_by(train(tmp_path, "trainer.max_epochs=2", max_steps=3)) == "max_steps"


def test_the_best_checkpoint_is_the_one_with_the_best_validation_score(tmp_path):
    trainer = train(tmp_path, "trainer.max_epochs=8", "model.gamma=2.0", "callbacks.convergence.patience=0")
    history = trainer.callbacks[0].epochs
    values = [epoch["val/loss_prediction"] for epoch in history]
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == values.index(min(values))
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 7
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_moved_run_folder_remembers_its_best_checkpoint(tmp_path):
    overrides = "trainer.max_epochs=3", "model.gamma=2.0", "callbacks.convergence.patience=0"
    before = train(tmp_path / "old", *overrides).checkpoint_callback
    (tmp_path / "old").rename(tmp_path / "new")
    stored = torch.load(tmp_path / "new" / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    after = build_callbacks(compose_config().callbacks, tmp_path / "new")[-2]
    after.load_state_dict(stored[after.state_key])
    assert after.best_model_score == before.best_model_score
    assert after.best_model_path == str(tmp_path / "new" / "checkpoints" / "best.ckpt")
    assert list(after.best_k_models) == [after.best_model_path]


def test_the_last_checkpoint_is_written_every_epoch_whatever_validation_says(tmp_path):
    """Training pulls text and image together, also of fake articles, so that the first epoch stays the best by this."""
    train(tmp_path, "trainer.max_epochs=5", "callbacks.monitor=val/similarity_fake", "callbacks.convergence.patience=0")
    epochs = {name: torch.load(tmp_path / "checkpoints" / f"{name}.ckpt", weights_only=True)["epoch"]
              for name in ("best", "last")}  # fmt: skip
    assert epochs["best"] < 4
    assert epochs["last"] == 4


def test_a_history_is_kept_whole_whatever_an_epoch_has_logged():
    history = EpochHistory()
    logged = [{"train/loss": 0.5}, {"train/loss": 0.25, "val/loss": 0.75}, {"train/loss": 0.125}]
    for epoch, figures in enumerate(logged):
        history.on_train_epoch_end(SimpleNamespace(current_epoch=epoch, callback_metrics=figures), None)
    resumed = EpochHistory()
    resumed.load_state_dict(history.state_dict())
    older = EpochHistory()
    older.load_state_dict({"epochs": [{"epoch": epoch, **figures} for epoch, figures in enumerate(logged)]})
    for found in (history, resumed, older):
        kept = [{name: value for name, value in row.items() if value == value} for row in found.epochs]
        assert kept == [{"epoch": epoch, **figures} for epoch, figures in enumerate(logged)]
