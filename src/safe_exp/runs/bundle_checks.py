"""Checks of a bundle, which may come from anybody, before anything is built from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import OmegaConf
from tokenizers import Tokenizer

from safe_exp.config import MODALITIES, ModelConfig
from safe_exp.config.checks import COMMIT_PATTERN
from safe_exp.data.captioners import captioner_from_plain, captioners
from safe_exp.data.codebook import STORED
from safe_exp.data.text import PADDING, UNKNOWN, Cutting, build_tokenizer
from safe_exp.data.transformer.coder import FIRST_TOKEN
from safe_exp.data.transformer.pieces import Pieces, parse_tokenizer
from safe_exp.data.word_cutters import word_cutters
from safe_exp.network.variants import variants
from safe_exp.runs.stored_run import typed_model
from safe_exp.scoring.calibration import FOLDS, VALIDATION

MAX_WORDS = 1_000_000  # of a text or a sentence
MAX_FILTER_SIZES = 100
MAX_MODEL_SIZE = 10**9  # of each size in ModelConfig; the product of two still fits a tensor's int64 sizes
WEIGHTS_PREFIX, CODEBOOK_PREFIX, STANDARDISER_PREFIX = "weights.", "codebook.", "standardiser."  # of tensors' names
TEXT_VECTORS, VISUAL_VECTORS = "vectors.text", "vectors.visual"  # names of tensors
STANDARDISERS = {f"{STANDARDISER_PREFIX}{side}.{name}": side for side in MODALITIES for name in ("mean", "scale")}


def check_model(plain: Any) -> ModelConfig:
    """Convert the model's settings to their type; refuse sizes out of bounds by a ValueError."""
    _refuse_interpolation(plain)
    model = typed_model(plain)
    sizes = [model.num_filters, model.feature_dim, *model.filter_sizes]
    sizes += [n for n in (model.word_dim, model.headline_words, model.body_words) if n is not None]
    if len(model.filter_sizes) > MAX_FILTER_SIZES or not all(1 <= size <= MAX_MODEL_SIZE for size in sizes):
        raise ValueError("the model's sizes are out of bounds")
    variants[model.variant].check(model)
    return model


def check_words(found: Any) -> None:
    """Refuse, by a ValueError, words that are no strings, cannot be encoded, or occur twice."""
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise ValueError("words is not a list of words")
    "".join(found).encode()  # half of a surrogate pair, which JSON can hold and the tokenizer cannot: a ValueError
    if len({*found, PADDING, UNKNOWN}) != len(found) + 2:
        raise ValueError("a word occurs twice in the vocabulary")


def check_manifest(found: Any) -> None:
    """Refuse, by a ValueError, settings of the data or ids that cannot be used."""
    settings = found["settings"]
    for key in ("max_text_tokens", "max_visual_tokens"):
        if not isinstance(settings[key], int) or not 1 <= settings[key] <= MAX_WORDS:
            raise ValueError(f"{key} is not a number from 1 to {MAX_WORDS:,}")
    if not isinstance(settings["require"], list) or not set(settings["require"]) <= {"text", "visual"}:
        raise ValueError("require names something else than text and visual")
    cutting = Cutting.from_settings(settings)
    if not isinstance(cutting.words, str) or not isinstance(cutting.keep_urls, bool):
        raise ValueError("words is not a name, or keep_urls not true or false")
    word_cutters.require(cutting.words)
    _refuse_interpolation(settings["captioner"])
    captioner = captioner_from_plain(settings["captioner"])
    OmegaConf.merge(OmegaConf.structured(type(captioner)), settings["captioner"])  # checks the types
    if captioners[captioner.name].gives_vectors and "patches" in found:
        entry = found["patches"]
        if not isinstance(entry["content"], str) or not isinstance(entry["dim"], int):
            raise ValueError("its patches have no digest or no dimension")
    elif "patches" in found:
        raise ValueError("it has patches without a captioner of patches")
    if found.get("fitted_on", VALIDATION) not in (VALIDATION, FOLDS):
        raise ValueError("fitted_on names no articles that a calibration is fitted on")
    train = found["split"]["train"]
    if not isinstance(train, list) or not all(isinstance(article_id, str) for article_id in train):
        raise ValueError("split.train is not a list of ids")


def check_shapes(
    shapes: Mapping[str, tuple[int, ...]],
    model: ModelConfig,
    words: int,
    has_codebook: bool,
    patches: Mapping[str, Any] | None,
) -> None:
    """Compare the shapes in the header with those that the settings ask for, before a number is read.

    Args:
        words: of the vocabulary, with padding.
        patches: entry of the manifest, of a run that reads vectors of patches.
    Raises:
        ValueError: the first difference.
    """
    for name in (TEXT_VECTORS, VISUAL_VECTORS):
        if name in shapes and len(shapes[name]) != 2:
            raise ValueError(f"{name} is not a table")
    rows, dim = shapes[TEXT_VECTORS]
    if rows != words:
        raise ValueError(f"{words} words have {rows} vectors")
    visual = shapes.get(VISUAL_VECTORS, shapes[TEXT_VECTORS])
    if has_codebook and VISUAL_VECTORS not in shapes:
        raise ValueError("its visual words have no vectors")
    if patches is not None and visual != (1, patches["dim"]):
        raise ValueError(f"its patches have {patches['dim']} numbers each, and its table of visual vectors {visual}")
    if patches is None and not has_codebook and VISUAL_VECTORS in shapes and visual[0] != words:
        raise ValueError(f"{words} words have {visual[0]} vectors")
    with torch.device("meta"):  # shapes without numbers: large settings cost no memory
        network = variants[model.variant].build(model, dim, visual[1])
    expected = {f"{WEIGHTS_PREFIX}{name}": tuple(weight.shape) for name, weight in network.state_dict().items()}
    found = {name: shape for name, shape in shapes.items() if name.startswith(WEIGHTS_PREFIX)}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(f"{name}: found {found.get(name)}, and its settings ask for {expected.get(name)}")
    dims = {"text": dim, "visual": visual[1]}
    for name, side in STANDARDISERS.items():
        if shapes.get(name, (dims[side],)) != (dims[side],):
            raise ValueError(f"{name}: found {shapes[name]}, and the vectors have {dims[side]} numbers")
    known = {TEXT_VECTORS, VISUAL_VECTORS, *expected, *STANDARDISERS}
    known |= {f"{CODEBOOK_PREFIX}{name}" for name in STORED}
    stray = sorted(shapes.keys() - known)
    if stray:
        raise ValueError(f"it holds {stray[0]!r:.60}, which nothing asks for")


def _refuse_interpolation(plain: Any) -> None:
    # OmegaConf would look up ${oc.env:…}, and an error message could show what it found.
    if not isinstance(plain, dict) or "${" in json.dumps(plain):
        raise ValueError("its settings are not plain values")


def build_tokenizer_of(content: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer of a model's words, or of a transformer's tokens.

    Raises:
        ValueError: it does not fit the settings.
        Exception: of tokenizers: it cannot be built.
    """
    stored, manifest = content.get("tokenizer"), content["manifest"]
    if (stored is not None) != ("vectors" in manifest):
        raise ValueError("it has a tokenizer without a transformer, or a transformer without a tokenizer")
    if stored is None:
        return build_tokenizer(content["words"], Cutting.from_settings(manifest["settings"]))
    entry = manifest["vectors"]
    named = isinstance(entry["model"], str) and isinstance(entry["digest"], str) and isinstance(entry["layer"], int)
    if not named or not (entry["revision"] is None or COMMIT_PATTERN.fullmatch(entry["revision"])):
        raise ValueError("its transformer has no model, revision, digest or layer that can be used")
    return parse_tokenizer(stored)


def count_rows(content: Mapping[str, Any]) -> int:
    """Count the rows that the table of the text's vectors must have."""
    vectors = content["manifest"].get("vectors")
    if vectors is None:
        return len(content["words"]) + 2  # after padding and the unknown word
    rows = FIRST_TOKEN + Pieces(build_tokenizer_of(content)).count
    return 1 if vectors["layer"] else rows
