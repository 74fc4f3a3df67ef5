"""A refit, against a training by hand with autograd, and the run that it follows."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from safe_exp.data.artifacts import Artifacts
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.data.labelled_folder import find_trained_on
from safe_exp.equations import safe_loss
from safe_exp.runs.checkpoints import read_checkpoint
from safe_exp.runs.stored_run import NETWORK_PREFIX
from safe_exp.scoring.calibration import Calibration
from safe_exp.system.errors import UserError
from safe_exp.training import refit
from safe_exp.training.module import SafeModule
from tests.commands import read_metrics, read_rows
from tests.made import compose_config
from tests.sweep.stacked.jobs import checkpoint, compose_small, train_alone

OVERRIDES = "logger=none", "trainer.max_epochs=3"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of a run and of the same with refit=true and refit=all; keeps the average."""
    folder = tmp_path_factory.mktemp("refit")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = {}
        for name in ("false", "true", "all"):
            config = compose_small(*OVERRIDES, "callbacks.select=average", f"refit={name}")
            made[name] = train_alone(config, folder / name, patch)
    return made


def open_data(folder: Path, config) -> FakeNewsNetDataModule:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        data = FakeNewsNetDataModule(config.data, config.captioner, config.vectors, config.seed)
        data.setup("fit")
    return data


def train_by_hand(
    config, data: FakeNewsNetDataModule, rows: np.ndarray, epochs: int, gammas: Sequence[float] = ()
) -> list[dict[str, torch.Tensor]]:
    """Train by autograd and plain SGD, and return the weights after each epoch; `gammas` is γ of each step."""
    pl.seed_everything(config.seed, workers=True, verbose=False)
    module = SafeModule(config, data.text_vectors, data.visual_vectors)
    size, states, course = config.data.batch_size, [], iter(gammas)
    for epoch in range(epochs):
        order = np.random.default_rng([config.seed, epoch]).permutation(np.sort(rows))
        for start in range(0, len(order), size):
            batch = data.encoded.__getitems__(order[start : start + size].tolist())
            loss = safe_loss(module.network(**module.look_up(batch)), batch.label, **module.loss_settings).total
            module.zero_grad()
            loss.backward()
            gamma = next(course, config.model.gamma)
            with torch.no_grad():
                for parameter in module.network.parameters():
                    parameter -= gamma * parameter.grad
        states.append({name: value.detach().clone() for name, value in module.network.named_parameters()})
    return states


def kept(folder: Path) -> dict[str, torch.Tensor]:
    state = read_checkpoint(folder / "checkpoints" / "best.ckpt")["state_dict"]
    return {name.removeprefix(NETWORK_PREFIX): value for name, value in state.items()}


@pytest.mark.parametrize(("name", "sides"), [("true", ["train", "val"]), ("all", ["train", "val", "test"])])
def test_a_refit_is_a_training_from_the_seed_on_the_articles_of_all_its_sides(runs, name, sides):
    config = compose_small(*OVERRIDES, "callbacks.select=average")
    data = open_data(runs[name], config)
    rows = np.concatenate([data.split.sides()[side] for side in sides])
    first, second, third = train_by_hand(config, data, rows, epochs=3)
    for parameter, value in kept(runs[name]).items():
        expected = 5 / 7 * third[parameter] + 10 / 42 * second[parameter] + 2 / 42 * first[parameter]
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)
    stored = read_metrics(runs[name])["refit"]
    assert (stored["sides"], stored["articles"], stored["epochs"], stored["weights"]) == (
        sides,
        len(rows),
        3,
        "average",
    )


def test_a_refit_under_onecycle_follows_a_cycle_of_its_own_length(tmp_path, monkeypatch):
    """Its epochs are longer: it trains on the validation articles too."""
    monkeypatch.chdir(tmp_path)
    schedule = "data.batch_size=8", "scheduler=onecycle", "model.gamma=0.3", "callbacks.select=last", "refit=true"
    config = compose_small(*OVERRIDES, *schedule)
    folder = train_alone(config, tmp_path / "run", monkeypatch)
    data = open_data(folder, config)
    rows = np.concatenate([data.split.train, data.split.val])
    steps = 3 * -(-len(rows) // config.data.batch_size)
    assert steps > 3 * -(-len(data.split.train) // config.data.batch_size)
    optimizer, gammas = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0), []
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, total_steps=steps, cycle_momentum=False)
    for _ in range(steps):
        gammas.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cycle.step()
    expected = train_by_hand(config, data, rows, 3, gammas)[-1]
    for name, value in kept(folder).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def test_validation_is_scored_and_calibrated_by_the_model_that_was_not_trained_on_it(runs):
    plain = read_metrics(runs["false"])
    for name in ("true", "all"):
        metrics = read_metrics(runs[name])
        assert metrics["val"] == plain["val"]
        assert metrics["calibration"] == plain["calibration"]
        assert Calibration.load(runs[name] / "artifacts") == Calibration.load(runs["false"] / "artifacts")
        assert metrics["refit"]["calibrated_on"] == "validation predictions of the model before the refit"
        assert metrics["selection"] == plain["selection"]
        assert metrics["best_epoch"] == plain["best_epoch"]


def test_test_is_scored_by_the_refitted_model_unless_it_was_trained_on_it(runs):
    plain, refitted, on_all = (read_metrics(runs[name]) for name in ("false", "true", "all"))
    assert refitted["refit"]["test_scored_by"] == "the refitted model"
    assert refitted["test"]["loss_prediction"] != plain["test"]["loss_prediction"]
    assert on_all["refit"]["test_scored_by"] == "the model before the refit"
    assert on_all["test"] == plain["test"]
    config = compose_small(*OVERRIDES)
    data = open_data(runs["true"], config)
    module = SafeModule(config, data.text_vectors, data.visual_vectors)
    module.network.load_state_dict(kept(runs["true"]))
    with torch.no_grad():
        batch = data.encoded.__getitems__(data.split.test.tolist())
        output = module.network(**module.look_up(batch))
    written = [row for row in read_rows(runs["true"] / "predictions.csv") if row["split"] == "test"]
    assert [float(row["probability"]) for row in written] == pytest.approx(output.probability.tolist(), abs=2e-6)


def test_evaluate_knows_every_article_of_a_refit(runs):
    config = compose_small(*OVERRIDES)
    for name, sides in (("false", ["train"]), ("true", ["train", "val"]), ("all", ["train", "val", "test"])):
        data, stored = open_data(runs[name], config), Artifacts.load(runs[name] / "artifacts")
        rows = np.sort(np.concatenate([data.split.sides()[side] for side in sides]))
        assert sorted(stored.training_ids) == sorted(data.ids[row] for row in rows)
        assert len(stored.training_texts) == len(rows)
        known = find_trained_on(data.prepared, np.arange(len(data.prepared)), [stored])
        assert {data.ids[row] for row in rows} <= {*known.by_id, *known.by_words}


def test_the_first_model_stays_beside_the_refitted_one_which_no_training_continues(runs):
    assert sorted(path.name for path in (runs["true"] / "checkpoints").iterdir()) == [
        "best.ckpt", "best_epoch.ckpt", "last.ckpt",
    ]  # fmt: skip
    for name in ("last", "best_epoch"):
        plain, refitted = (checkpoint(runs[run], name)["state_dict"] for run in ("false", "true"))
        assert all(torch.equal(value, refitted[key]) for key, value in plain.items())
    config = compose_small(*OVERRIDES)
    data = open_data(runs["true"], config)
    module = SafeModule(config, data.text_vectors, data.visual_vectors)
    with pytest.raises(UserError, match=r"kept at its end \(refit\).* Copy best_epoch\.ckpt over it instead"):
        module.on_load_checkpoint(checkpoint(runs["true"], "best"))


class Breaks(pl.Callback):
    """The machine fails at the start of the third epoch."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 2:
            raise OSError("no more power")


@pytest.mark.slow
def test_a_refit_that_broke_off_goes_on_to_the_same_weights_and_figures(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(runs["true"].parent)
    build = refit.build_refit_trainer

    def breaking(*arguments):
        trainer = build(*arguments)
        trainer.callbacks.append(Breaks())
        return trainer

    config = compose_small(*OVERRIDES, "callbacks.select=average", "refit=true")
    with monkeypatch.context() as patch:
        patch.setattr(refit, "build_refit_trainer", breaking)
        with pytest.raises(OSError, match="no more power"):
            train_alone(config, tmp_path / "run", patch)
    assert not (tmp_path / "run" / "metrics.json").exists()
    assert checkpoint(tmp_path / "run", "refit")["epoch"] == 1
    train_alone(config, tmp_path / "run", monkeypatch)
    assert all(torch.equal(value, kept(runs["true"])[name]) for name, value in kept(tmp_path / "run").items())
    assert read_metrics(tmp_path / "run") == read_metrics(runs["true"])
    assert not (tmp_path / "run" / "checkpoints" / "refit.ckpt").exists()


@pytest.mark.slow
def test_a_refit_under_best_trains_as_long_as_the_best_epoch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = compose_small(*OVERRIDES, "callbacks.select=best", "refit=true")
    folder = train_alone(deepcopy(config), tmp_path / "run", monkeypatch)
    metrics, data = read_metrics(folder), open_data(folder, config)
    assert metrics["refit"]["epochs"] == metrics["best_epoch"] == metrics["selection"]["epoch"]
    rows = np.concatenate([data.split.train, data.split.val])
    last = train_by_hand(config, data, rows, metrics["best_epoch"])[-1]
    for name, value in kept(folder).items():
        torch.testing.assert_close(value, last[name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_run_whose_first_epochs_an_earlier_version_trained_says_its_best_epoch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = compose_small(*OVERRIDES, "callbacks.select=best")
    folder = train_alone(config, tmp_path / "run", monkeypatch)
    (folder / "metrics.json").unlink()
    path = folder / "checkpoints" / "last.ckpt"
    stored = torch.load(path, weights_only=True)
    stored["callbacks"] = {key: state for key, state in stored["callbacks"].items() if "EpochOutputs" not in key}
    torch.save(stored, path)
    metrics = read_metrics(train_alone(config, folder, monkeypatch))
    assert "begun by a version" in metrics["selection"]["reason"]
    assert metrics["selection"]["epoch"] == metrics["best_epoch"] > 1


def test_a_refit_that_was_begun_without_averages_is_begun_anew_with_them(runs, tmp_path):
    data = open_data(runs["true"], compose_small(*OVERRIDES))
    for folder, plans in (("one", [(2, False), (3, True)]), ("other", [(3, True)])):
        for epochs, averages in plans:
            config = compose_small(*OVERRIDES)
            plan = refit.RefitPlan(("train", "val"), epochs, averages, "a test")
            trainer, weights = refit.run_refit(config, data, tmp_path / folder, plan)
            assert data.trainer is trainer  # else each of two processes would read, and score, every article
        found = {name.removeprefix(NETWORK_PREFIX): value for name, value in weights.items()}
        assert all(torch.equal(value, found[name]) for name, value in kept(runs["true"]).items())


def test_a_scheduler_without_a_class_is_no_mistake_of_the_refit():
    with pytest.raises(UserError, match=r"^scheduler\._target_ must be given"):
        compose_config("refit=true", "scheduler={gamma: 0.5}")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["refit=twice"], "refit=twice: expected false, true or all"),
        (["refit_from=multirun/x"], "refit_from=multirun/x needs refit=true or refit=all beside it"),
        (["refit=true", "trainer.max_steps=5"], "trainer.max_steps=5 beside refit: a refit repeats whole epochs"),
        (["refit=true", "trainer.fast_dev_run=true"], "trainer.fast_dev_run=True beside refit"),
        (["refit=all", "scheduler=plateau"], "beside refit: it goes by validation"),
    ],
)
def test_what_contradicts_a_refit_is_refused(overrides, message):
    with pytest.raises(UserError, match=message):
        compose_config(*overrides)
