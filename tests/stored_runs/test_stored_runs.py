"""A run, a sweep, a bundle and prepared data of an earlier version work as they did then.

`made/` was written by the version before the modules were moved into rooms (commit fe6365e), with these commands:

    SMALL="data.articles=40 trainer.max_epochs=2 model.num_filters=3 model.feature_dim=4 data.batch_size=8 vectors.dim=8
           threads=1"
    train $SMALL captioner=visual_words captioner.grids=[2] captioner.words=12 captioner.sample_patches=200
          callbacks.early_stopping.patience=5 hydra.run.dir=run
    train -m $SMALL model.alpha=0.4,0.6 hydra.sweep.dir=sweep
    export run=run to=bundle.safetensors

Figures and locks were left out, and WORKING_FOLDER stands for the folder of the start. `expected/` holds that version's
own answers: `predict run=sweep/0 explain=true < lines.jsonl`, `predict run=bundle.safetensors data=synthetic
data.articles=20`, `evaluate run=run data=synthetic data.articles=40 data.seed=3 threshold=best`, the metrics of
`train resume=run trainer.max_epochs=3`, and the tables of `report sweep=sweep`.
"""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from safe_exp.config import CONF
from safe_exp.data.prepared import PreparedArticles, prepare
from safe_exp.inference.answers import Answerer
from safe_exp.runs.checkpoints import read_checkpoint
from safe_exp.runs.open_run import open_run
from safe_exp.sweep.folder import read_sweep
from safe_exp.training.callbacks import build_callbacks
from tests.commands import read_json, run
from tests.made import compose_config

MADE = Path(__file__).parent / "made"
EXPECTED = MADE / "expected"


@pytest.fixture
def folder(tmp_path):
    """A copy of `made/`, with its paths as if it had been made there."""
    shutil.copytree(MADE, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("WORKING_FOLDER", str(tmp_path)).replace("CONF\n", f"{CONF}\n"), encoding="utf-8")
    return tmp_path


def alike(found, expected, without=()):
    """Compare nested plain values, numbers to five digits: the last ones depend on the machine."""
    if isinstance(expected, dict):
        names = expected.keys() - set(without)
        return names <= found.keys() and all(alike(found[name], expected[name]) for name in names)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(alike, found, expected))
    if isinstance(expected, float):
        return found == pytest.approx(expected, rel=1e-5, abs=1e-7)
    return found == expected


def answers(lines: str) -> list[dict]:
    return [json.loads(line) for line in lines.splitlines()]


def number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


@pytest.mark.parametrize("name", ["run", "bundle.safetensors", "sweep/0"])
def test_a_stored_run_opens_with_its_weights_and_its_calibration(name):
    stored = open_run(MADE / name)
    assert all(torch.isfinite(weight).all() for weight in stored.network().state_dict().values())
    assert stored.calibration.articles == 7
    assert Answerer(stored, threshold="best").threshold == stored.calibration.thresholds["prediction"]


def test_a_bundle_holds_the_weights_of_its_run():
    ours, bundle = open_run(MADE / "run"), open_run(MADE / "bundle.safetensors")
    assert all(torch.equal(weight, bundle.weights[name]) for name, weight in ours.weights.items())


def test_the_callbacks_of_a_checkpoint_keep_the_names_that_it_was_written_with():
    names = {key.partition("{")[0] for key in read_checkpoint(MADE / "run" / "checkpoints" / "last.ckpt")["callbacks"]}
    config = compose_config("callbacks.early_stopping.patience=5")
    built = {callback.state_key.partition("{")[0] for callback in build_callbacks(config.callbacks, MADE / "run")}
    assert names <= built


def test_a_stored_sweep_is_read_job_by_job():
    sweep = read_sweep(MADE / "sweep")
    assert [job.state for job in sweep.jobs] == ["finished", "finished"]
    assert [job.overrides["model.alpha"] for job in sweep.jobs] == ["0.4", "0.6"]
    assert all(len(job.test_predictions) == 8 and len(job.read_epochs()["val/loss"]) == 2 for job in sweep.jobs)


def test_prepared_data_open_and_are_what_would_be_prepared_today(tmp_path):
    overrides = "data.articles=40", f"data.root={tmp_path}/articles", f"data.prepared={tmp_path}/prepared"
    config = compose_config(*overrides)
    ours, stored = prepare(config.data, config.captioner), PreparedArticles.open(MADE / "prepared" / "captions")
    assert stored.fingerprint == ours.fingerprint
    assert stored.ids == ours.ids
    assert np.array_equal(stored.text_tokens, ours.text_tokens)


@pytest.mark.slow
def test_predict_answers_as_then(folder):
    lines = (EXPECTED / "lines.jsonl").read_text(encoding="utf-8")
    (folder / "lines.jsonl").write_text(lines, encoding="utf-8")
    done = run("predict", "run=sweep/0", "explain=true", cwd=folder, stdin=lines)
    assert alike(answers(done.stdout), answers((EXPECTED / "predict.jsonl").read_text(encoding="utf-8"))), done.stderr
    done = run("predict", "run=bundle.safetensors", "data=synthetic", "data.articles=20", cwd=folder)
    expected = answers((EXPECTED / "predict_bundle.jsonl").read_text(encoding="utf-8"))
    assert alike(answers(done.stdout), expected), done.stderr


@pytest.mark.slow
def test_evaluate_scores_as_then(folder):
    given = "run=run", "data=synthetic", "data.articles=40", "data.seed=3", "threshold=best", "hydra.run.dir=scored"
    done = run("evaluate", *given, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert alike(read_json(folder / "scored" / "metrics.json"), read_json(EXPECTED / "evaluate.json"), ["seconds"])


@pytest.mark.slow
def test_a_finished_run_is_trained_further_to_the_same_figures(folder):
    done = run("train", "resume=run", "trainer.max_epochs=3", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert alike(read_json(folder / "run" / "metrics.json"), read_json(EXPECTED / "resumed.json"), ["seconds"])


@pytest.mark.slow
def test_a_sweep_that_was_interrupted_goes_on_to_the_same_figures_and_is_reported(folder):
    job = folder / "sweep" / "1"
    before = read_json(job / "metrics.json")
    (job / "metrics.json").unlink()
    (job / "artifacts" / "calibration.json").unlink()
    status = read_json(job / "status.json") | {"state": "interrupted", "reason": "told to stop (SIGTERM)"}
    (job / "status.json").write_text(json.dumps(status), encoding="utf-8")
    done = run("train", "-m", "resume_sweep=sweep", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert alike(read_json(job / "metrics.json"), before, ["seconds"])
    done = run("report", "sweep=sweep", cwd=folder)
    assert done.returncode == 0, done.stderr
    for name in ("comparisons", "conditions", "jobs"):
        tables = []
        for tables_folder in (folder / "sweep" / "report" / "tables", EXPECTED / "tables"):
            with open(tables_folder / f"{name}.csv", newline="", encoding="utf-8") as handle:
                tables.append([{k: number(v) for k, v in row.items()} for row in csv.DictReader(handle)])
        assert all(alike(found, row, ["seconds"]) for found, row in zip(*tables, strict=True)), name
