"""A run as one file: nothing is lost on the way, and nothing in a stranger's file is trusted."""

import json
import pickle
import re
import resource
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from safe_exp.data.artifacts import Artifacts
from safe_exp.data.codebook import Codebook
from safe_exp.data.embedded import Standardiser
from safe_exp.data.text import Cutting, build_tokenizer
from safe_exp.data.transformer.pieces import Pieces
from safe_exp.inference.members import group_members
from safe_exp.network.variants import variants
from safe_exp.runs.bundle import open_bundle, write_bundle
from safe_exp.runs.ensemble import Ensemble
from safe_exp.runs.open_run import open_run
from safe_exp.runs.stored_run import StoredRun
from safe_exp.scoring.calibration import Calibration, Combination
from safe_exp.system.errors import UserError
from tests.data.tiny_transformers import make_tokenizer
from tests.made import compose_config
from tests.made_run import write_run

WORDS = ['"', "\\", "é", "[CLS]", "ok", "the"]


@cache
def made_run(variant="safe", visual_words=False) -> StoredRun:
    """Make a stored run like one of train, with random weights."""
    overrides = [f"model={variant}", "model.num_filters=3", "model.feature_dim=4", "model.filter_sizes=[2,4]"]
    captioner = ["captioner=visual_words", "captioner.words=5"] if visual_words else []
    config = compose_config(*overrides, *captioner)
    generator = np.random.default_rng(0)
    text = torch.from_numpy(generator.normal(size=(len(WORDS) + 2, 6)).astype(np.float32))
    visual, codebook = text, None
    if visual_words:
        numbers = generator.normal(size=(5, 7)).astype(np.float32)
        codebook = Codebook(numbers, numbers[0], np.ones(7, np.float32), {"words": 5, "seed": 0})
        visual = torch.from_numpy(codebook.vectors())
    captioner_settings = vars(config.captioner)
    manifest = {
        "name": "table",
        "fingerprint": "0" * 64,
        "counts": {"all": {"articles": 3, "fake": 1, "real": 2}},
        "left_out": {"by_reason": {}, "articles": [{"path": "secret"}]},
        "settings": {
            "max_text_tokens": 9,
            "max_visual_tokens": 4,
            "require": ["text"],
            "captioner": captioner_settings,
        },
        "split": {"train": ["a", "é"], "val": ["b"], "test": ["c"]},
    }
    torch.manual_seed(0)
    network = variants[config.model.variant].build(config.model, text.shape[1], visual.shape[1])
    calibration = Calibration(1 / 3, {"prediction": 0.1}, Combination(0.1, 0.2, 0.3), 7)
    artifacts = Artifacts(build_tokenizer(WORDS), text, visual, codebook, manifest)
    return StoredRun(config.model, artifacts, dict(network.state_dict()), calibration, Path("made"))


@pytest.mark.parametrize(
    ("variant", "visual_words"),
    [("safe", False), ("safe", True), ("text_only", False), ("visual_only", True), ("similarity_only", False),
     ("no_similarity", True), ("released", False)],
)  # fmt: skip
def test_a_run_comes_back_from_its_file_bit_for_bit(variant, visual_words, tmp_path):
    stored = made_run(variant, visual_words)
    write_bundle(stored, tmp_path / "m.safetensors")
    again = open_run(tmp_path / "m.safetensors")
    assert again.model == stored.model
    assert again.calibration == stored.calibration
    assert again.weights.keys() == stored.weights.keys()
    assert all(torch.equal(again.weights[name], weight) for name, weight in stored.weights.items())
    ours, theirs = stored.artifacts, again.artifacts
    assert theirs.tokenizer.to_str() == ours.tokenizer.to_str()
    assert torch.equal(theirs.text_vectors, ours.text_vectors)
    assert torch.equal(theirs.visual_vectors, ours.visual_vectors)
    assert (theirs.visual_vectors is theirs.text_vectors) == (ours.visual_vectors is ours.text_vectors)
    assert theirs.manifest["settings"] == ours.manifest["settings"]
    assert theirs.manifest["split"] == {"train": ["a", "é"]}
    if visual_words:
        assert theirs.codebook.settings == ours.codebook.settings
        for name in ("centroids", "mean", "scale"):
            assert np.array_equal(getattr(theirs.codebook, name), getattr(ours.codebook, name))
    write_bundle(again, tmp_path / "again.safetensors")
    with (
        safe_open(tmp_path / "again.safetensors", "pt") as second,
        safe_open(tmp_path / "m.safetensors", "pt") as first,
    ):
        assert second.metadata() == first.metadata()
    assert "secret" not in (tmp_path / "m.safetensors").read_bytes().decode("latin-1")


def changed(tmp_path, visual_words=False, tensors=None, metadata=None, **content):
    """Write a bundle in which something is wrong."""
    path = tmp_path / "m.safetensors"
    write_bundle(made_run(visual_words=visual_words), path)
    with safe_open(path, "pt") as file:
        stored = json.loads(file.metadata()["content"])
    numbers = load_file(path) | (tensors or {})
    numbers = {name: tensor for name, tensor in numbers.items() if tensor is not None}
    values = {"format": "safe_exp bundle 1", "content": json.dumps(stored | content)} | (metadata or {})
    save_file(numbers, path, metadata=values)
    return path, stored


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {"format": "another"}}, r"format is 'another', expected 'safe_exp bundle 1' or"),
        ({"metadata": {"content": "{"}}, "Expecting property name"),
        ({"metadata": {"content": "[" * 100_000}}, "recursion|nested|Expecting"),
        ({"metadata": {"content": "{}"}}, "it lacks calibration, codebook"),
        ({"tensors": {"weights.predictor.weight": torch.zeros(2, 9)}}, r"predictor\.weight: found \(2, 9\)"),
        ({"tensors": {"weights.predictor.weight": None}}, r"predictor\.weight: found None"),
        ({"tensors": {"weights.predictor.bias": torch.zeros(2, dtype=torch.int64)}}, "numbers of type I64"),
        ({"tensors": {"weights.more": torch.zeros(1)}}, r"weights\.more: found \(1,\)"),
        ({"tensors": {"more": torch.zeros(1)}}, "'more', which nothing asks for"),
        ({"tensors": {"vectors.text": torch.zeros(3, 6)}}, "8 words have 3 vectors"),
        ({"tensors": {"vectors.text": torch.zeros(8)}}, "is not a table"),
        ({"tensors": {"vectors.text": None}}, "vectors.text"),
        ({"tensors": {"vectors.visual": torch.zeros(3, 6)}}, "8 words have 3 vectors"),
        ({"words": ["a", "a"]}, "occurs twice"),
        ({"words": ["[PAD]"]}, "occurs twice"),
        ({"words": [1]}, "not a list of words"),
        ({"model": {"num_filters": "${oc.env:HOME}"}}, "not plain values"),
        ({"model": {"num_filters": 10**9}}, "MISSING|bounds|missing"),
        ({"model": "safe"}, "not plain values"),
        ({"calibration": {"temperature": -1, "thresholds": {"prediction": 0.5}, "combination": None, "articles": 1}},
         "temperature above 0"),
        ({"codebook": {}}, "codebook without visual words|no vectors"),
        ({"manifest": {}}, "settings"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused_with_the_reason(change, message, tmp_path):
    path, _ = changed(tmp_path, **change)
    with pytest.raises(UserError, match=message) as refused:
        open_bundle(path)
    assert "no bundle that can be used" in str(refused.value)


@pytest.mark.parametrize("sizes", [{"num_filters": 10**9}, {"feature_dim": 10**9}, {"filter_sizes": [10**9]},
                                   {"filter_sizes": [1] * 1000}, {"num_filters": 10**30}])  # fmt: skip
def test_a_model_that_its_settings_make_enormous_is_refused_before_a_number_of_it_exists(sizes, tmp_path):
    _, stored = changed(tmp_path)
    path, _ = changed(tmp_path, model=stored["model"] | sizes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="no bundle that can be used"):
        open_bundle(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "best"}, r"model\.variant=best: expected one of .*\bno_similarity,.* released,"),
        ({"variant": "../safe"}, r"model\.variant=\.\./safe: expected one of"),
        ({"alpha": 0.0, "beta": 0.0}, "both 0: nothing is learned"),
        ({"word_dim": 3}, r"model\.word_dim=3 has a meaning for model=released alone"),
        ({"extra": {"depth": 3}}, r"model\.extra\.depth: model=safe has no such setting"),
    ],
)
def test_settings_that_contradict_the_variant_are_refused_in_a_file_and_in_a_folder(settings, message, tmp_path):
    _, stored = changed(tmp_path)
    path, _ = changed(tmp_path, model=stored["model"] | settings)
    with pytest.raises(UserError, match="no bundle that can be used") as refused:
        open_bundle(path)
    assert re.search(message, str(refused.value))
    run = write_run(tmp_path / "run")
    kept = OmegaConf.load(run / ".hydra" / "config.yaml")
    OmegaConf.save(OmegaConf.create({"model": dict(kept.model) | settings}), run / ".hydra" / "config.yaml")
    with pytest.raises(UserError, match=r"run=.*run: \.hydra/config\.yaml: ") as refused:
        open_run(run)
    assert re.search(message, str(refused.value))


def test_what_was_stored_before_variants_had_settings_of_their_own_is_read(tmp_path):
    _, stored = changed(tmp_path)
    assert stored["model"].pop("extra") == {}
    path, _ = changed(tmp_path, model=stored["model"])
    assert open_bundle(path).model == made_run().model


def test_words_are_cut_as_in_the_run_and_a_file_names_no_cutter_that_is_not_ours(tmp_path):
    _, stored = changed(tmp_path)
    settings = stored["manifest"]["settings"]
    for cutting in ({}, {"words": "auto"}, {"words": "jieba", "keep_urls": False}):
        path, _ = changed(tmp_path, manifest=stored["manifest"] | {"settings": settings | cutting})
        artifacts = open_bundle(path).artifacts
        assert artifacts.manifest["settings"] == settings | cutting
        ours = build_tokenizer(WORDS, Cutting.from_settings(cutting))
        assert artifacts.tokenizer.to_str() == ours.to_str()
    for cutting in (
        {"words": "os.path"},
        {"words": "../jieba"},
        {"words": None},
        {"words": ["auto"]},
        {"keep_urls": 0},
    ):
        path, _ = changed(tmp_path, manifest=stored["manifest"] | {"settings": settings | cutting})
        with pytest.raises(UserError, match=r"no bundle that can be used.*(expected one of|words is not a name)"):
            open_bundle(path)


@pytest.mark.parametrize("key", ["max_text_tokens", "max_visual_tokens", "require", "captioner"])
def test_settings_of_the_data_are_checked_as_well(key, tmp_path):
    _, stored = changed(tmp_path)
    for value in (None, 10**12, "x", ["x"], {"name": "other"}, {"name": "file", "file_name": "../x"}):
        manifest = stored["manifest"] | {"settings": stored["manifest"]["settings"] | {key: value}}
        path, _ = changed(tmp_path, manifest=manifest)
        with pytest.raises(UserError, match="no bundle that can be used"):
            open_bundle(path)


def test_a_codebook_must_fit_its_vectors(tmp_path):
    for tensors in (
        {"vectors.visual": torch.zeros(9, 7)},
        {"codebook.scale": torch.zeros(7)},
        {"codebook.mean": torch.full((7,), torch.nan)},
        {"codebook.centroids": None},
    ):
        path, _ = changed(tmp_path, visual_words=True, tensors=tensors)
        with pytest.raises(UserError, match="no bundle that can be used"):
            open_bundle(path)


def test_no_pickle_is_read(tmp_path):
    class Harm:
        def __reduce__(self):
            return (tmp_path.joinpath("harmed").touch, ())

    path = tmp_path / "m.safetensors"
    path.write_bytes(pickle.dumps(Harm()))
    with pytest.raises(UserError, match="no bundle that can be used"):
        open_bundle(path)
    torch.save({"x": Harm()}, path)
    with pytest.raises(UserError, match="no bundle that can be used"):
        open_bundle(path)
    assert not (tmp_path / "harmed").exists()


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> tuple[bytes, object]:
    path = tmp_path_factory.mktemp("bundle") / "m.safetensors"
    write_bundle(made_run(visual_words=True), path)
    return path.read_bytes(), path.with_name("damaged.safetensors")


def check_damage(content, place, value, end):
    whole, path = content
    damaged = bytearray(whole[: len(whole) - end])
    damaged[place % len(damaged)] = value
    path.write_bytes(damaged)
    with suppress(UserError):  # any other error fails the test
        open_bundle(path).network()  # a changed number is still a number


DAMAGE = (st.integers(0, 2**20), st.integers(0, 255), st.sampled_from([0, 0, 0, 1, 9, 500, 3000]))


@given(*DAMAGE)
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_refused_or_read_and_nothing_else(content, place, value, end):
    check_damage(content, place, value, end)


def test_one_file_holds_one_set_of_weights(tmp_path):
    write_bundle(made_run(), tmp_path / "m.safetensors")
    with pytest.raises(UserError, match=r"checkpoint=last.*one set of weights"):
        open_run(tmp_path / "m.safetensors", "last")


def transformer_run(layer: int, *overrides: str) -> StoredRun:
    """Make a stored run on the tokens of a transformer."""
    config = compose_config("model.num_filters=3", "model.feature_dim=4", *overrides)
    pieces = Pieces(make_tokenizer())
    table = torch.randn(1 if layer else pieces.count + 1, 6, generator=torch.Generator().manual_seed(0))
    base = made_run().artifacts.manifest
    entry = {"model": "somewhere", "revision": None, "digest": "0" * 64, "layer": layer, "standardise": bool(layer)}
    standardisers = {"text": Standardiser(torch.rand(6), torch.rand(6))} if layer else {}
    artifacts = Artifacts(pieces.tokenizer, table, table, None, base | {"vectors": entry}, standardisers=standardisers)
    torch.manual_seed(0)
    network = variants[config.model.variant].build(config.model, 6, 6)
    return StoredRun(config.model, artifacts, dict(network.state_dict()), None, Path("made"))


@pytest.mark.parametrize("layer", [0, -1])
def test_a_run_on_a_transformer_comes_back_from_its_file(layer, tmp_path):
    stored = transformer_run(layer)
    write_bundle(stored, tmp_path / "m.safetensors")
    ours, theirs = stored.artifacts, open_run(tmp_path / "m.safetensors").artifacts
    assert theirs.tokenizer.to_str() == ours.tokenizer.to_str()
    assert theirs.manifest["vectors"] == ours.manifest["vectors"]
    assert torch.equal(theirs.text_vectors, ours.text_vectors)
    assert theirs.standardisers.keys() == ours.standardisers.keys()
    for side, standardiser in ours.standardisers.items():
        assert torch.equal(theirs.standardisers[side].mean, standardiser.mean)
        assert torch.equal(theirs.standardisers[side].scale, standardiser.scale)


def test_folds_on_one_transformer_read_an_article_once_from_their_file_too(tmp_path):
    folds = [transformer_run(-1) for _ in range(2)]
    for fold, (run, article) in enumerate(zip(folds, ("a", "b"), strict=True)):
        manifest = run.artifacts.manifest | {"split": {"train": [article]}}
        weights = {name: value + fold for name, value in run.weights.items()}
        same = folds[0].artifacts
        folds[fold] = replace(run, artifacts=replace(same, manifest=manifest), weights=weights)
    ensemble = Ensemble(tuple(folds), {"0": "", "1": ""}, None, Path("made"))
    write_bundle(ensemble, tmp_path / "m.safetensors")
    read = open_run(tmp_path / "m.safetensors")
    assert [member.artifacts.training_ids for member in read.members] == [["a"], ["b"]]
    assert [len(group.networks) for group in group_members(read)] == [2]


# Rust panics at it, which Python sees as no Exception.
PANICS = json.dumps(
    json.loads(make_tokenizer().to_str()) | {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}
)


@pytest.mark.parametrize(
    ("layer", "change", "message"),
    [
        (0, {"tokenizer": None}, "transformer without a tokenizer"),
        (0, {"tokenizer": "{}"}, "no bundle that can be used"),
        (0, {"tokenizer": PANICS}, "the tokenizer is damaged"),
        (0, {"layer": -1}, "1 words have|have .* vectors"),
        (-1, {"revision": "main"}, "no model, revision, digest or layer that can be used"),
        (-1, {"layer": "last"}, "no model, revision, digest or layer that can be used"),
        (-1, {"tensors": {"standardiser.text.mean": torch.zeros(5)}}, r"standardiser\.text\.mean: found \(5,\)"),
        (-1, {"tensors": {"standardiser.image.mean": torch.zeros(6)}}, "which nothing asks for"),
    ],
)
def test_a_file_whose_transformer_contradicts_the_rest_is_refused(layer, change, message, tmp_path):
    path = tmp_path / "m.safetensors"
    write_bundle(transformer_run(layer), path)
    with safe_open(path, "pt") as file:
        content = json.loads(file.metadata()["content"])
    tensors = load_file(path) | change.get("tensors", {})
    for name in ("layer", "revision"):
        if name in change:
            content["manifest"]["vectors"][name] = change[name]
    if "tokenizer" in change:
        content["tokenizer"] = change["tokenizer"]
    save_file(tensors, path, metadata={"format": "safe_exp bundle 1", "content": json.dumps(content)})
    with pytest.raises(UserError, match=message):
        open_run(path)
