"""A sweep as one file: everything comes back, what is equal lies in it once, and what contradicts itself is refused."""

import json
from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from safe_exp.data.reading.articles import Article
from safe_exp.inference.answers import Answerer
from safe_exp.runs import bundle_layout
from safe_exp.runs.bundle import open_bundle, write_bundle
from safe_exp.runs.open_run import open_run
from safe_exp.scoring.calibration import FOLDS
from safe_exp.system.errors import UserError
from tests.made_jobs import write_job, write_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    write_bundle(open_run(write_sweep(folder / "s")), folder / "s.safetensors")
    return folder / "s"


@pytest.fixture
def bundle(sweep):
    return sweep.with_suffix(".safetensors")


def test_a_sweep_comes_back_from_its_file_bit_for_bit(sweep, bundle, tmp_path):
    stored, again = open_run(sweep), open_run(bundle)
    assert (again.jobs, again.calibration, again.fitted_on) == (stored.jobs, stored.calibration, FOLDS)
    for ours, theirs in zip(stored.members, again.members, strict=True):
        assert theirs.model == ours.model
        assert all(torch.equal(theirs.weights[name], weight) for name, weight in ours.weights.items())
        assert theirs.artifacts.tokenizer.to_str() == ours.artifacts.tokenizer.to_str()
        assert torch.equal(theirs.artifacts.visual_vectors, ours.artifacts.visual_vectors)
        assert theirs.artifacts.codebook.settings == ours.artifacts.codebook.settings
        assert theirs.artifacts.manifest["split"] == {"train": ours.artifacts.manifest["split"]["train"]}
    write_bundle(again, tmp_path / "again.safetensors")
    with safe_open(tmp_path / "again.safetensors", "pt") as second, safe_open(bundle, "pt") as first:
        assert second.metadata() == first.metadata()  # with the digest of content and tensors
    asked = [Article("x", None, "a senator", "own1 the boat")]
    assert Answerer(again).answer(asked) == Answerer(stored).answer(asked)


def test_what_jobs_have_in_common_is_stored_once(tmp_path):
    for number in range(4):
        write_job(tmp_path / "s", number, f"model.alpha={number + 1}", split={"test": ["abcd"[number]]})
    write_bundle(open_run(tmp_path / "s"), tmp_path / "s.safetensors")
    tensors = load_file(tmp_path / "s.safetensors")
    kinds = [name.partition(".")[2] for name in tensors]
    assert kinds.count("vectors.text") == kinds.count("vectors.visual") == kinds.count("codebook.centroids") == 1
    assert kinds.count("weights.predictor.weight") == 4
    members = open_bundle(tmp_path / "s.safetensors").members
    assert len({member.artifacts.manifest["split"]["train"][0] for member in members}) > 1
    assert len({id(member.artifacts.text_vectors) for member in members}) == 1


def test_a_sweep_without_a_calibration_says_so_from_its_file(tmp_path):
    for number in range(2):
        write_job(tmp_path / "s", number, "captioner=file")
    write_bundle(open_run(tmp_path / "s"), tmp_path / "s.safetensors")
    with pytest.raises(UserError, match=r"calibrate=true: .*s\.safetensors has no calibration: its sweep had none"):
        Answerer(open_run(tmp_path / "s.safetensors"), calibrate=True)


def changed(bundle, tmp_path, change):
    """Change the content of a bundle and its tensors in place."""
    with safe_open(bundle, "pt") as file:
        content = json.loads(file.metadata()["content"])
    tensors = load_file(bundle)
    change(content, tensors)
    path = tmp_path / "m.safetensors"
    save_file(tensors, path, metadata={"format": "safe_exp bundle 2", "content": json.dumps(content)})
    return path


def setter(*way, value):
    def change(content, tensors):
        for key in way[:-1]:
            content = content[key]
        content[way[-1]] = value

    return change


def share_weights(content, tensors):
    for name, place in content["members"][0]["tensors"].items():
        if name.startswith("weights."):
            tensors.pop(content["members"][1]["tensors"][name])
            content["members"][1]["tensors"][name] = place


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setter("members", value=[]), "members is not a list of 1 to 1000"),
        (setter("members", value=7), "members is not a list"),
        (setter("members", 0, "words", value=9), "words of a model is not a number of vocabularies"),
        (setter("members", 0, "words", value=True), "words of a model is not a number of vocabularies"),
        (setter("members", 0, "manifest", value=-1), "manifest of a model is not a number of manifests"),
        (setter("members", 0, "tensors", value=["vectors.text"]), "is not one of names"),
        (setter("members", 0, "tensors", "vectors.text", value=7), "is not one of names"),
        (setter("members", 0, "tensors", "vectors.text", value="x"), "is in its list of tensors or in the file, and"),
        (setter("members", 0, "tensors", "vectors.text", value="1.vectors.visual"), "'0.vectors.text' is in its list"),
        (setter("members", 0, "model", "num_filters", value=10**9), r"settings ask for \(1000000000"),
        (setter("members", 1, "model", "variant", value="text_only"), "has no similarity loss"),
        (setter("vocabularies", 1, value=["a", "a"]), "occurs twice"),
        (setter("manifests", 1, "settings", "require", value=["text"]), "they cannot answer as one model"),
        (setter("jobs", value=[["0", ""]]), "jobs does not name each of its models"),
        (setter("jobs", value=[["0", ""], ["0", ""], ["0", ""]]), "jobs does not name each"),
        (setter("jobs", value=7), "not iterable"),
        (setter("fitted_on", value="the moon"), "fitted_on names no articles"),
        (setter("calibration", value={"temperature": 1}), "combination"),
        (share_weights, "stands for the weights of two models"),
        (lambda content, tensors: tensors.update(more=torch.zeros(1)), "'more' is in its list of tensors or in the"),
        (lambda content, tensors: content.pop("members"), "it lacks members"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused_with_the_reason(change, message, bundle, tmp_path):
    path = changed(bundle, tmp_path, change)
    with pytest.raises(UserError, match=message) as refused:
        open_bundle(path)
    assert "no bundle that can be used" in str(refused.value)


def test_vocabularies_that_would_fill_the_memory_are_refused(bundle, monkeypatch):
    monkeypatch.setattr(bundle_layout, "MAX_WORDS_IN_ALL", 20)  # the three have eight each
    with pytest.raises(UserError, match="its vocabularies have more than 20 words in all"):
        open_bundle(bundle)


@given(st.integers(0, 2**20), st.integers(0, 255), st.sampled_from([0, 0, 0, 1, 500]))
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_is_refused_or_read_and_nothing_else(sweep, place, value, end):
    whole, path = sweep.with_suffix(".safetensors").read_bytes(), sweep.with_name("damaged.safetensors")
    damaged = bytearray(whole[: len(whole) - end])
    damaged[place % len(damaged)] = value
    path.write_bytes(damaged)
    with suppress(UserError):  # any other error fails the test
        for member in open_bundle(path).members:
            member.network()
