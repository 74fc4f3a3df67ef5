"""A flipped byte, a part from elsewhere or of an older version: a message that says where, or no harm at all."""

import json
import random
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from safe_exp.checkpoint import read_checkpoint
from safe_exp.data.artifacts import Artifacts
from safe_exp.data.prepared import PreparedArticles
from safe_exp.errors import UserError
from tests.commands import read_json
from tests.faults import forked
from tests.faults.test_kills import RUN, differences
from tests.faults.whole import same_weights, weights_of

POSITIONS = 40  # in each file


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with the built-in articles, prepared, and a finished run on them."""
    folder = tmp_path_factory.mktemp("finished")
    done = forked.run("train", *RUN, cwd=folder, watch=False)
    assert done.code == 0, done.printed
    return folder


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of it, as if the run had been killed after its last epoch."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    (folder / "run" / "metrics.json").unlink()
    return folder


def flipped(path: Path, position: int) -> bytes:
    """The content of a file with one byte changed; its highest bit, so that text stays no text."""
    content = bytearray(path.read_bytes())
    content[position] ^= 0x80
    return bytes(content)


def positions(path: Path) -> list[int]:
    """Places all over a file, and its ends."""
    size = path.stat().st_size
    return sorted({0, size - 1, *random.Random(1).sample(range(size), min(size, POSITIONS))})


def test_a_checkpoint_with_a_flipped_byte_is_refused_or_gives_the_same_weights(finished, tmp_path):
    original = finished / "run" / "checkpoints" / "last.ckpt"
    weights, refused = weights_of(original), []
    path = tmp_path / "last.ckpt"
    for position in positions(original):
        path.write_bytes(flipped(original, position))
        try:
            read = read_checkpoint(path)["state_dict"]
        except UserError as error:
            refused.append(str(error))
        else:
            assert same_weights(read, weights), position  # a byte between the parts, which nobody reads
    assert len(refused) > 5
    for message in refused:
        assert re.search(r"last\.ckpt: the checkpoint cannot be used \(.+\)\. .*copy best\.ckpt over it", message), (
            message
        )


def test_a_flipped_weight_which_pytorch_reads_without_a_word_is_refused(finished, tmp_path):
    original = finished / "run" / "checkpoints" / "best.ckpt"
    weight = weights_of(original)["network.predictor.weight"]
    place = original.read_bytes().find(weight.numpy().tobytes())
    assert place > 0
    path = tmp_path / "best.ckpt"
    path.write_bytes(flipped(original, place + 3))
    changed = torch.load(path, weights_only=True)["state_dict"]["network.predictor.weight"]
    assert (changed != weight).sum() == 1  # were it refused here, read_checkpoint need not look
    with pytest.raises(UserError, match=r"best\.ckpt: the checkpoint cannot be used \(its part .* is not as it was"):
        read_checkpoint(path)


@pytest.mark.slow
def test_a_run_whose_last_checkpoint_is_damaged_goes_on_from_its_best_one_as_the_message_says(finished, copy):
    last, best = (copy / "run" / "checkpoints" / name for name in ("last.ckpt", "best.ckpt"))
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


def test_a_flipped_byte_in_what_a_run_keeps_of_its_data_is_refused_with_the_file_s_name(finished, tmp_path):
    folder = tmp_path / "artifacts"
    shutil.copytree(finished / "run" / "artifacts", folder)
    for name in ("tokenizer.json", "vectors.safetensors"):
        original = finished / "run" / "artifacts" / name
        for position in positions(original):
            (folder / name).write_bytes(flipped(original, position))
            with pytest.raises(
                UserError, match=rf"artifacts: .*{name} is not as it was written.*Was the copy complete"
            ):
                Artifacts.load(folder)
        shutil.copy(original, folder / name)
    Artifacts.load(folder)


def test_a_flipped_byte_in_prepared_data_is_refused_with_the_file_s_name(finished, tmp_path):
    (source,) = (path.parent for path in (finished / "data" / "prepared").glob("*/manifest.json"))
    folder = tmp_path / "prepared"
    shutil.copytree(source, folder)
    names = sorted(path.name for path in folder.iterdir() if path.name != "manifest.json")
    assert names == ["articles.parquet", "caption_tokens.npy", "text_tokens.npy", "words.parquet"]
    for name in names:
        for position in positions(source / name):
            (folder / name).write_bytes(flipped(source / name, position))
            with pytest.raises(UserError, match=rf"{name} is not as it was written.*Remove this folder"):
                PreparedArticles.open(folder)
        shutil.copy(source / name, folder / name)
    assert len(PreparedArticles.open(folder)) == 120


def test_folders_of_a_version_without_checksums_are_read(finished, tmp_path):
    (prepared,) = (path.parent for path in (finished / "data" / "prepared").glob("*/manifest.json"))
    for source, name in ((prepared, "manifest.json"), (finished / "run" / "artifacts", "data_manifest.json")):
        folder = tmp_path / name
        shutil.copytree(source, folder)
        older = {key: value for key, value in read_json(folder / name).items() if key != "files"}
        (folder / name).write_text(json.dumps(older))
    assert len(PreparedArticles.open(tmp_path / "manifest.json")) == 120
    assert Artifacts.load(tmp_path / "data_manifest.json").tokenizer.get_vocab_size() > 100


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
    assert same_weights(*(weights_of(copy / name / "checkpoints" / "last.ckpt") for name in ("first", "run")))


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
    assert "the run started with model.similarity_loss=None, and conf/ now gives" in done.printed
    assert "Traceback" not in done.printed
    scored = forked.run("evaluate", "run=run", cwd=copy, watch=False)
    assert scored.code == 1
    assert "run=run: .hydra/config.yaml" in scored.printed
    assert "similarity_loss" in scored.printed
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
