"""One flipped byte in a file of a run or a preparation: a message with the file's name, or no harm at all."""

import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from safe_exp.data.artifacts import Artifacts
from safe_exp.data.captioners.file import FileCaptionerConfig
from safe_exp.data.prepared import PreparedArticles, prepare
from safe_exp.runs.bundle import open_bundle, write_bundle
from safe_exp.runs.checkpoints import read_checkpoint
from safe_exp.runs.open_run import open_run
from safe_exp.scoring.calibration import Calibration
from safe_exp.scoring.results import write_metrics
from safe_exp.system.errors import UserError
from safe_exp.system.files import read_sealed_json, write_sealed_json
from tests.commands import read_json
from tests.data.folders import folder_config, write_folder
from tests.faults.whole import have_same_weights, read_weights
from tests.made_run import write_run

POSITIONS = 30  # in each file
CALIBRATION = Calibration(1.5, {"prediction": 0.4}, None, articles=20)


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
    assert names == [
        "articles.parquet",
        "caption_tokens.npy",
        "text_signatures.npy",
        "text_tokens.npy",
        "words.parquet",
    ]
    for name in names:
        whole = (prepared / name).read_bytes()
        for position in positions(prepared / name):
            (prepared / name).write_bytes(flipped(prepared / name, position))
            with pytest.raises(UserError, match=rf"{name} is not as it was written.*Remove this folder"):
                PreparedArticles.open(prepared)
            (prepared / name).write_bytes(whole)
    assert len(PreparedArticles.open(prepared)) == 20


def every_bit(path: Path) -> Iterator[bytes]:
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            yield whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]


def test_any_flipped_bit_of_a_sealed_file_is_refused_or_changes_nothing(tmp_path):
    path, content = tmp_path / "sealed.json", {"temperature": 0.31, "ids": ["a b", "ü"], "none": None, "n": {"1": 7}}
    write_sealed_json(path, content)
    refused = 0
    for damaged in every_bit(path):
        path.write_bytes(damaged)
        try:
            read, sealed = read_sealed_json(path)
        except ValueError:
            refused += 1
        else:  # a blank became another one, or the name of the digest changed
            assert {name: read[name] for name in content} == content
            assert sealed is (len(read) == len(content))
    assert refused > 0.8 * 8 * len(damaged)


def test_calibration_metrics_and_manifests_are_sealed(run, prepared, tmp_path):
    CALIBRATION.save(tmp_path)
    write_metrics(tmp_path / "metrics.json", {"val": {"auroc": float("nan"), "interval": (0.5, 1)}, "epochs": 3})
    for path in (tmp_path / "calibration.json", run / "artifacts" / "data_manifest.json", tmp_path / "metrics.json",
                 prepared / "manifest.json"):  # fmt: skip
        assert read_sealed_json(path)[1], path
    assert Calibration.load(tmp_path) == CALIBRATION


def test_a_changed_number_in_a_calibration_or_a_manifest_is_refused(run, prepared, tmp_path):
    artifacts = Path(shutil.copytree(run / "artifacts", tmp_path / "artifacts"))
    CALIBRATION.save(artifacts)
    for path, key, read in (
        (artifacts / "calibration.json", "articles", Calibration.load),
        (artifacts / "data_manifest.json", "fingerprint", Artifacts.load),
        (prepared / "manifest.json", "fingerprint", PreparedArticles.open),
    ):
        stored = read_json(path)
        path.unlink()
        path.write_text(json.dumps(stored | {key: 1}))
        with pytest.raises(UserError, match=f"{path.name} is not as it was written"):
            read(path.parent)


@pytest.mark.parametrize("kind", ["captioner=visual_words", "captioner=file"])
def test_a_bundle_with_a_flipped_bit_is_refused_or_answers_the_same(kind, tmp_path):
    run, path = write_run(tmp_path / "run", kind), tmp_path / "b.safetensors"
    write_bundle(open_run(run), path)
    whole, stored = path.read_bytes(), open_bundle(path)
    refused, places = 0, random.Random(2)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[places.randrange(len(whole))] ^= 1 << places.randrange(8)
        path.write_bytes(damaged)
        try:
            read = open_bundle(path)
        except UserError:
            refused += 1
        else:  # the flipped bit stands in padding, or in the name of the digest
            assert have_same_weights(read.weights, stored.weights)
            assert read.artifacts.manifest == stored.artifacts.manifest
    assert refused > 140


def test_folders_of_a_version_without_checksums_are_read(run, prepared, tmp_path):
    artifacts = Path(shutil.copytree(run / "artifacts", tmp_path / "artifacts"))
    for path in (prepared / "manifest.json", artifacts / "data_manifest.json"):
        stored = read_json(path)
        del stored["files"], stored["digest"]
        path.write_text(json.dumps(stored))
    assert len(PreparedArticles.open(prepared)) == 20
    assert Artifacts.load(artifacts).codebook is not None
