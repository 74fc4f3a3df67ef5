"""One flipped byte in a file of a run or a preparation: a message with the file's name, or no harm at all."""

import json
import random
import re
import shutil
from pathlib import Path

import pytest
import torch

from safe_exp.data.artifacts import Artifacts
from safe_exp.data.captioners.file import FileCaptionerConfig
from safe_exp.data.prepared import PreparedArticles, prepare
from safe_exp.runs.checkpoints import read_checkpoint
from safe_exp.system.errors import UserError
from tests.commands import read_json
from tests.data.folders import folder_config, write_folder
from tests.faults.whole import have_same_weights, read_weights
from tests.made_run import write_run

POSITIONS = 30  # in each file


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def prepared(tmp_path) -> Path:
    """Copy of 20 prepared articles."""
    config = folder_config(write_folder(tmp_path / "articles", per_class=10))
    made = prepare(config, FileCaptionerConfig(name="file", file_name="caption.txt")).folder
    return Path(shutil.copytree(made, tmp_path / "prepared"))


def flipped(path: Path, position: int) -> bytes:
    """Flip the highest bit of one byte of a file's content, so that text is no text any more."""
    content = bytearray(path.read_bytes())
    content[position] ^= 0x80
    return bytes(content)


def positions(path: Path) -> list[int]:
    """List places all over a file, and its ends."""
    size = path.stat().st_size
    return sorted({0, size - 1, *random.Random(1).sample(range(size), min(size, POSITIONS))})


def test_a_checkpoint_with_a_flipped_byte_is_refused_or_gives_the_same_weights(run, tmp_path):
    original = run / "checkpoints" / "best.ckpt"
    weights, refused = read_weights(original), []
    path = tmp_path / "best.ckpt"
    for position in positions(original):
        path.write_bytes(flipped(original, position))
        try:
            read = read_checkpoint(path)["state_dict"]
        except UserError as error:
            refused.append(str(error))
        else:
            assert have_same_weights(read, weights), position  # a byte between the parts, which nobody reads
    assert len(refused) > 5
    said = re.compile(r"best\.ckpt: the checkpoint cannot be used \(.+\)\. .*checkpoint=last")
    assert all(said.search(message) for message in refused), refused


def test_a_flipped_weight_which_pytorch_reads_without_a_word_is_refused(run, tmp_path):
    original = run / "checkpoints" / "best.ckpt"
    weight = read_weights(original)["network.predictor.weight"]
    place = original.read_bytes().find(weight.numpy().tobytes())
    assert place > 0
    path = tmp_path / "best.ckpt"
    path.write_bytes(flipped(original, place + 3))
    changed = torch.load(path, weights_only=True)["state_dict"]["network.predictor.weight"]
    assert (changed != weight).sum() == 1  # were it refused here, read_checkpoint need not look
    with pytest.raises(UserError, match=r"best\.ckpt: the checkpoint cannot be used \(its part .* is not as it was"):
        read_checkpoint(path)


def test_a_flipped_byte_in_what_a_run_keeps_of_its_data_is_refused_with_the_file_s_name(run, tmp_path):
    folder = tmp_path / "artifacts"
    shutil.copytree(run / "artifacts", folder)
    for name in ("tokenizer.json", "vectors.safetensors", "codebook.safetensors"):
        original = run / "artifacts" / name
        for position in positions(original):
            (folder / name).write_bytes(flipped(original, position))
            with pytest.raises(UserError, match=rf"artifacts: .*{name} is not as it was written.*the copy complete"):
                Artifacts.load(folder)
        shutil.copy(original, folder / name)
    Artifacts.load(folder)


def test_a_flipped_byte_in_prepared_data_is_refused_with_the_file_s_name(prepared):
    names = sorted(path.name for path in prepared.iterdir() if path.name != "manifest.json")
    assert names == ["articles.parquet", "caption_tokens.npy", "text_tokens.npy", "words.parquet"]
    for name in names:
        whole = (prepared / name).read_bytes()
        for position in positions(prepared / name):
            (prepared / name).write_bytes(flipped(prepared / name, position))
            with pytest.raises(UserError, match=rf"{name} is not as it was written.*Remove this folder"):
                PreparedArticles.open(prepared)
            (prepared / name).write_bytes(whole)
    assert len(PreparedArticles.open(prepared)) == 20


def test_folders_of_a_version_without_checksums_are_read(run, prepared, tmp_path):
    artifacts = Path(shutil.copytree(run / "artifacts", tmp_path / "artifacts"))
    for path in (prepared / "manifest.json", artifacts / "data_manifest.json"):
        stored = read_json(path)
        del stored["files"]
        path.write_text(json.dumps(stored))
    assert len(PreparedArticles.open(prepared)) == 20
    assert Artifacts.load(artifacts).codebook is not None
