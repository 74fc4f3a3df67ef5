"""The presets of conf/debug, and the options of Lightning's Trainer that users reach for, in whole trainings."""

import math

import torch

from safe_exp.runs.checkpoints import read_checkpoint
from tests.commands import read_json, read_rows
from tests.made import compose_config
from tests.sweep.stacked.jobs import compose_small, train_alone


def train(folder, monkeypatch, *overrides):
    monkeypatch.chdir(folder)
    return train_alone(compose_small(*overrides), folder / "run", monkeypatch)


def test_a_preset_runs_in_one_process_without_loggers_and_wins_over_an_experiment():
    overrides = "experiment=recovery", "data.root=x", "vectors.model=y", "trainer=ddp", "debug=limit"
    config = compose_config(*overrides)
    assert (config.trainer.strategy, config.trainer.devices, config.trainer.max_epochs) == ("auto", 1, 2)
    assert config.logger.chosen == {}
    assert config.refit is False
    assert compose_config(*overrides[:3]).refit is True
    assert compose_config(*overrides, "trainer.max_epochs=7", "logger=csv").trainer.max_epochs == 7


def test_fdr_runs_the_whole_path_on_one_batch_of_each_split(tmp_path, monkeypatch):
    run = train(tmp_path, monkeypatch, "debug=fdr")
    metrics = read_json(run / "metrics.json")
    assert metrics["epochs"] == 1
    assert not list(run.glob("checkpoints/*.ckpt"))
    assert not (run / "logs" / "version_0").exists()


def test_overfit_brings_the_loss_of_one_batch_towards_zero(tmp_path, monkeypatch):
    run = train(tmp_path, monkeypatch, "debug=overfit", "trainer.max_epochs=60", "optimizer=adam", "model.gamma=0.05")
    history = read_checkpoint(run / "checkpoints" / "last.ckpt")
    state = history["callbacks"]["EpochHistory"]
    losses = state["values"][:, state["names"].index("train/loss_prediction")]
    assert history["global_step"] == len(losses) == 60
    assert losses[0] > 0.5
    assert losses[-1] < 0.1


def test_limit_takes_few_batches_of_each_split(tmp_path, monkeypatch):
    run = train(tmp_path, monkeypatch, "debug=limit", "data.batch_size=4", "trainer.max_epochs=2")
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"] == 2 * 3
    assert {row["split"] for row in read_rows(run / "predictions.csv")} == {"val", "test"}


def test_the_profiler_writes_the_time_of_each_hook_into_the_run_folder(tmp_path, monkeypatch):
    run = train(tmp_path, monkeypatch, "debug=profiler")
    profile = (run / "profile" / "fit-simple.txt").read_text()
    assert "SafeModule.on_train_epoch_end" in profile


def test_auroc_picks_the_best_epoch_and_ends_the_training(tmp_path, monkeypatch):
    run = train(
        tmp_path, monkeypatch, "callbacks.monitor=val/auroc", "callbacks.mode=max", "callbacks.select=best",
        "callbacks.early_stopping.patience=2", "trainer.max_epochs=30",
    )  # fmt: skip
    metrics = read_json(run / "metrics.json")
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")["callbacks"]["EpochHistory"]
    aurocs = state["values"][:, state["names"].index("val/auroc")].tolist()
    assert metrics["stopped_by"] == "early_stopping"
    assert metrics["best_epoch"] == aurocs.index(max(aurocs)) + 1 == metrics["epochs"] - 2


def test_bfloat16_clipping_and_class_weights_work_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train(
        tmp_path, monkeypatch, "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=0.5",
        "model.article_weights=class", "trainer.max_epochs=2",
    )  # fmt: skip
    stored = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert all(torch.isfinite(value).all() for value in stored["state_dict"].values())
    assert math.isfinite(read_json(run / "metrics.json")["test"]["loss"])
