"""The folds of a finished sweep give a refit its number of epochs and its calibration."""

import json
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from scipy.special import logit

from safe_exp.config import plain_config
from safe_exp.runs.bundle import write_bundle
from safe_exp.runs.open_run import open_folder, open_run
from safe_exp.scoring import calibration
from safe_exp.scoring.calibration import fit_temperature
from safe_exp.system.errors import UserError
from safe_exp.system.files import read_sealed_json, write_sealed_json
from safe_exp.training.folds import read_folds
from safe_exp.training.module import SafeModule
from tests.commands import read_metrics, read_rows
from tests.sweep.stacked.jobs import compose_small, train_alone
from tests.training.test_refit import OVERRIDES, kept, open_data, train_by_hand

FOLDS = *OVERRIDES, "data.folds=2", "callbacks.select=last"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Folder of a sweep over two folds."""
    folder = tmp_path_factory.mktemp("folds")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for fold, epochs in enumerate((2, 5)):
            config = compose_small(*FOLDS, f"data.fold={fold}", f"trainer.max_epochs={epochs}")
            train_alone(config, folder / "sweep" / str(fold), patch)
    return folder / "sweep"


def read(sweep: Path, *overrides: str):
    config = compose_small(*OVERRIDES, *overrides)
    data = open_data(sweep, config)
    module = SafeModule(config, data.text_vectors, data.visual_vectors)
    return read_folds(sweep, data, dict(module.hparams))


@pytest.fixture
def copy(sweep, tmp_path):
    (tmp_path / "data").symlink_to(sweep.parent / "data")
    return Path(shutil.copytree(sweep, tmp_path / "sweep"))


def test_epochs_are_the_median_and_every_article_stands_once_with_the_answer_of_its_fold(sweep):
    found = read(sweep)
    assert (found.jobs, found.rule.value, found.epochs) == (2, "last", 4)  # the median of 2 and 5, rounded to even
    rows = [row for job in (0, 1) for row in read_rows(sweep / str(job) / "predictions.csv") if row["split"] == "test"]
    data = open_data(sweep, compose_small(*OVERRIDES))
    by_id = {row["id"]: row for row in rows}
    assert len(rows) == len(by_id) == len(found.scored.rows) == 60
    for place, row in enumerate(found.scored.rows.tolist()):
        answer = by_id[data.ids[row]]
        assert found.scored.label[place] == int(answer["label"])
        assert found.scored.probability[place].item() == pytest.approx(float(answer["probability"]), rel=1e-5)
        assert found.scored.logit[place].item() == pytest.approx(logit(float(answer["probability"])), abs=1e-5)
        assert found.scored.similarity[place].item() == pytest.approx(float(answer["similarity"]), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("refit", ["all", "true"])
def test_a_refit_by_folds_is_one_training_calibrated_out_of_fold(refit, sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(sweep.parent)
    config = compose_small(*OVERRIDES, f"refit={refit}", "refit_from=sweep")
    folder = train_alone(deepcopy(config), tmp_path / "run", monkeypatch)
    data, metrics = open_data(sweep, config), read_metrics(folder)
    sides = ["train", "val", "test"] if refit == "all" else ["train", "val"]
    rows = sorted(row for side in sides for row in data.split.sides()[side].tolist())
    last = train_by_hand(config, data, rows, epochs=4)[-1]
    for name, value in kept(folder).items():
        torch.testing.assert_close(value, last[name], rtol=1e-4, atol=1e-5)
    found = read(sweep)
    used = [place for place, row in enumerate(found.scored.rows.tolist()) if row in rows]
    assert metrics["calibration"]["articles"] == len(rows) == len(used)  # none of those that test it
    expected = fit_temperature(found.scored.logit[used].numpy(), found.scored.label[used].numpy())
    assert metrics["calibration"]["temperature"] == pytest.approx(expected, rel=1e-4)
    assert metrics["refit"]["calibrated_on"] == "out-of-fold predictions of sweep"
    (folder / ".hydra").mkdir()
    OmegaConf.save(OmegaConf.create(plain_config(config)), folder / ".hydra" / "config.yaml")
    write_bundle(open_folder(folder, "best"), tmp_path / "m.safetensors")
    assert open_folder(folder, "best").fitted_on == open_run(tmp_path / "m.safetensors").fitted_on == calibration.FOLDS
    tested = sum(metrics["test"]["articles"][name] for name in ("fake", "real"))
    assert tested == (60 if refit == "all" else len(data.split.test))
    by = "the jobs of sweep, each on its own fold" if refit == "all" else "the refitted model"
    assert metrics["refit"]["test_scored_by"] == by


def test_jobs_that_differ_are_left_aside_and_a_sweep_of_none_but_them_or_not_whole_is_refused(copy):
    alike = r"refit_from=.*: no job is like this refit\. Job 0 was trained "
    with pytest.raises(UserError, match=alike + r"with model\.alpha=0\.6, and this refit has 0\.9"):
        read(copy, "model.alpha=0.9")
    with pytest.raises(UserError, match=alike + r"on other articles than data\.root="):
        read(copy, "data.articles=40")
    for number in (0, 1):
        (copy / str(number) / ".hydra").mkdir()
        (copy / str(number) / ".hydra" / "config.yaml").write_text("data: {batch_size: 16}")
    with pytest.raises(UserError, match=alike + r"with data\.batch_size=16, and this refit has 8"):
        read(copy, "data.batch_size=8")
    shutil.copytree(copy / "0", copy / "2")
    (copy / "2" / ".hydra" / "config.yaml").write_text("data: {batch_size: 4}")
    assert read(copy).jobs == 2
    shutil.rmtree(copy / "2")
    (copy / "0" / ".hydra" / "config.yaml").write_text("refit: true\nrefit_from: sweep")
    (copy / "1" / ".hydra" / "config.yaml").write_text("refit: true\nrefit_from: sweep")
    with pytest.raises(UserError, match=r"Job 0 chose no number of epochs itself, but took it from refit_from=sweep"):
        read(copy)
    for number in (0, 1):
        shutil.rmtree(copy / str(number) / ".hydra")
    manifest, _ = read_sealed_json(copy / "0" / "artifacts" / "data_manifest.json")
    path = copy / "1" / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "failed"}))
    with pytest.raises(UserError, match="fold 1 of 2 has no finished job, and every article must have been tested"):
        read(copy)
    manifest["settings"]["folds"] = None
    (copy / "0" / "artifacts" / "data_manifest.json").unlink()
    write_sealed_json(copy / "0" / "artifacts" / "data_manifest.json", manifest)
    with pytest.raises(UserError, match=r"its jobs are no folds \(data\.folds\)"):
        read(copy)
    shutil.rmtree(copy / "0")
    with pytest.raises(UserError, match=r"no finished job is in this folder\. Give that of a sweep over folds"):
        read(copy)


def test_folds_of_two_splits_are_not_mixed(copy):
    path = copy / "1" / "artifacts" / "data_manifest.json"
    manifest, _ = read_sealed_json(path)
    manifest["settings"]["seed"] = 7
    path.unlink()
    write_sealed_json(path, manifest)
    with pytest.raises(UserError, match="fold 1 of 2 has no finished job"):
        read(copy)
