"""When training ends, and that the run can say why."""

import pytest
import pytorch_lightning as pl
import torch

from safe_exp.callbacks import Convergence, WholeCheckpointIO, build_callbacks, stopped_by
from tests.made import compose_config, draw_batch, draw_module, loader


def train(tmp_path, *overrides, **arguments):
    config = compose_config(*overrides)
    callbacks = build_callbacks(config.callbacks, tmp_path)
    trainer = pl.Trainer(
        max_epochs=config.trainer.max_epochs, accelerator="cpu", logger=False, callbacks=callbacks,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, plugins=[WholeCheckpointIO()],
        **arguments,
    )  # fmt: skip
    batches = [draw_batch(seed=seed) for seed in range(2)]
    trainer.fit(draw_module(*overrides), loader(*batches), loader(*batches))
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
        should_stop = False

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
    """Under mode=max the first epoch's loss stays the best one while training lowers it."""
    train(tmp_path, "trainer.max_epochs=5", "callbacks.mode=max", "callbacks.convergence.patience=0")
    epochs = {name: torch.load(tmp_path / "checkpoints" / f"{name}.ckpt", weights_only=True)["epoch"]
              for name in ("best", "last")}  # fmt: skip
    assert epochs["best"] < 4
    assert epochs["last"] == 4
