"""Flipped bytes, and parts from elsewhere or of an older version: a message that says where, or no harm at all."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.commands import read_json
from tests.faults import forked
from tests.faults.test_flipped_bytes import flipped
from tests.faults.test_kills import RUN, differences
from tests.faults.whole import have_same_weights, read_weights


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Folder with the built-in articles, prepared, and a finished run on them."""
    folder = tmp_path_factory.mktemp("finished")
    done = forked.run("train", *RUN, cwd=folder, watch=False)
    assert done.code == 0, done.printed
    return folder


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """Copy of it, as if the run had been killed after its last epoch."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    (folder / "run" / "metrics.json").unlink()
    return folder


@pytest.mark.slow
def test_a_run_whose_last_checkpoint_is_damaged_goes_on_from_its_best_one_as_the_message_says(finished, copy):
    checkpoints = copy / "run" / "checkpoints"
    last, best = checkpoints / "last.ckpt", checkpoints / "best_epoch.ckpt"
    best = best if best.exists() else checkpoints / "best.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    status = forked.run("train", "resume=run", cwd=copy, watch=False)
    assert status.code == 1
    assert "run/checkpoints/last.ckpt: the checkpoint cannot be used" in status.printed
    assert "Traceback" not in status.printed
    shutil.copy(best, last)
    assert forked.run("train", "resume=run", cwd=copy, watch=False).code == 0
    assert differences(copy, finished) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("model.num_filters=5", r"filters\.0\.bias is \(5,\), expected \(4,\)"),
        ("model.filter_sizes=[3,5]", r"filters\.1\.weight is \(4, 5, \d+\), expected"),
        ("model=text_only", r"predictor\.weight is \(2, 4\), expected \(2, 8\)"),
        ("model.alpha=0.7", r"it was trained with model\.alpha=0\.7, and this run has model\.alpha="),
        ("optimizer=adam", r"it was trained with optimizer\._target_=torch\.optim\.Adam"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_by_what_differs(other, message, copy):
    done = forked.run("train", *RUN, other, "hydra.run.dir=other", cwd=copy, watch=False)
    assert done.code == 0, done.printed
    shutil.copy(copy / "other" / "checkpoints" / "last.ckpt", copy / "run" / "checkpoints" / "last.ckpt")
    before = (copy / "run" / "checkpoints" / "last.ckpt").read_bytes()
    done = forked.run("train", "resume=run", cwd=copy, watch=False)
    assert done.code == 1
    assert "checkpoints/last.ckpt is not of this run's model" in done.printed
    assert re.search(message, done.printed), done.printed
    assert "Traceback" not in done.printed
    assert (copy / "run" / "checkpoints" / "last.ckpt").read_bytes() == before


@pytest.mark.slow
def test_prepared_data_that_were_damaged_are_not_trained_on(copy):
    where = (*RUN, "data.root=data/synthetic", "data.prepared=prepared")
    assert forked.run("train", *where, "hydra.run.dir=first", cwd=copy, watch=False).code == 0
    (tokens,) = (copy / "prepared").glob("*/text_tokens.npy")
    tokens.write_bytes(flipped(tokens, tokens.stat().st_size // 2))
    (copy / "first" / "metrics.json").unlink()
    for command in (("train", *where, "hydra.run.dir=second"), ("train", "resume=first")):
        done = forked.run(*command, cwd=copy, watch=False)
        assert done.code == 1
        assert "text_tokens.npy is not as it was written" in done.printed
        assert "Remove this folder; it is then made anew" in done.printed
        assert "Traceback" not in done.printed
    shutil.rmtree(tokens.parent)
    assert forked.run("train", "resume=first", cwd=copy, watch=False).code == 0
    assert have_same_weights(*(read_weights(copy / name / "checkpoints" / "last.ckpt") for name in ("first", "run")))


@pytest.mark.slow
def test_a_run_of_an_older_version_is_read_or_refused_in_words(copy, finished):
    run = copy / "run"
    # What a version that knew fewer of them has left: no newer fields in status.json, metrics.json, config.yaml.
    (run / "status.json").write_text('{"state": "running"}')
    done = forked.run("train", "resume=run", cwd=copy, watch=False)
    assert done.code == 0, done.printed
    assert differences(copy, finished) == []
    assert read_json(run / "status.json")["state"] == "finished"
    (run / "metrics.json").write_text('{"epochs": 4}')
    done = forked.run("train", "resume=run", cwd=copy, watch=False)
    assert "this run has finished" in done.printed
    (run / "metrics.json").write_text("{")
    done = forked.run("train", "resume=run", "trainer.max_epochs=9", cwd=copy, watch=False)
    assert "metrics.json cannot be read" in done.printed
    assert "Traceback" not in done.printed
    stored = run / ".hydra" / "config.yaml"
    content = yaml.safe_load(stored.read_text())
    del content["model"]["similarity_loss"]
    stored.write_text(yaml.safe_dump(content))
    (run / "metrics.json").unlink()
    done = forked.run("train", "resume=run", cwd=copy, watch=False)
    assert done.code == 0 or "the run started with model.similarity_loss=None" in done.printed, done.printed
    assert "Traceback" not in done.printed
    scored = forked.run("evaluate", "run=run", cwd=copy, watch=False)
    assert scored.code == 0 or "run=run: .hydra/config.yaml" in scored.printed, scored.printed
    assert "Traceback" not in scored.printed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["overrides.yaml", "config.yaml", "hydra.yaml"])
def test_a_run_whose_settings_were_cut_off_says_so(name, copy):
    path = copy / "run" / ".hydra" / name
    for content in (b"", path.read_bytes()[: path.stat().st_size // 2] + b"\n: [", b"\xff\xfe"):
        path.write_bytes(content)
        done = forked.run("train", "resume=run", cwd=copy, watch=False)
        assert done.code == 1
        assert f".hydra/{name}" in done.printed, done.printed
        assert "Traceback" not in done.printed, done.printed
