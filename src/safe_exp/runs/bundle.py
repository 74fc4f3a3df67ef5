"""A bundle: a stored run as one safetensors file, to be given away.

It holds weights, vocabulary, vectors, codebook and settings; a run on hidden states names its transformer. A
safetensors file is a JSON header and plain numbers; it can hold no code. A bundle from a stranger is still checked
before anything is built from it: the settings tell the shapes that the numbers must have, the header tells those that
they have, and numbers are read only when both agree. So no more memory is allocated than the file has numbers for.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from safe_exp.config import MODALITIES, ModelConfig, plain_config
from safe_exp.config.checks import COMMIT_PATTERN
from safe_exp.data.artifacts import Artifacts, join_standardisers
from safe_exp.data.captioners import captioner_from_plain, captioners
from safe_exp.data.codebook import STORED, Codebook, check_arrays
from safe_exp.data.text import PADDING, UNKNOWN, Cutting, build_tokenizer, vocabulary_words
from safe_exp.data.transformer.coder import FIRST_TOKEN
from safe_exp.data.transformer.pieces import Pieces
from safe_exp.data.word_cutters import word_cutters
from safe_exp.network.variants import variants
from safe_exp.runs.stored_run import StoredRun, typed_model
from safe_exp.scoring.calibration import Calibration
from safe_exp.system.errors import UserError, first_line
from safe_exp.system.files import DIGEST, whole_file

log = logging.getLogger(__name__)

FORMAT = "safe_exp bundle 1"
MAX_HEADER_BYTES = 100_000_000  # the most that safetensors reads back
MANIFEST_KEYS = (
    "name",
    "fingerprint",
    "counts",
    "settings",
    "vocabulary",
    "vectors",
    "patches",
)  # of data_manifest.json, that travel
MAX_WORDS = 1_000_000  # of a text or a sentence
MAX_FILTER_SIZES = 100
MAX_MODEL_SIZE = 10**9  # of each size in ModelConfig; the product of two still fits a tensor's int64 sizes
WEIGHTS_PREFIX, CODEBOOK_PREFIX, STANDARDISER_PREFIX = "weights.", "codebook.", "standardiser."  # of tensors' names
TEXT_VECTORS, VISUAL_VECTORS = "vectors.text", "vectors.visual"  # names of tensors
STANDARDISERS = {f"{STANDARDISER_PREFIX}{side}.{name}": side for side in MODALITIES for name in ("mean", "scale")}


def write_bundle(stored: StoredRun, path: Path) -> None:
    """Write all that `predict` and `evaluate` need of a run; the file appears whole or not at all.

    The ids of the training articles travel along, so that `evaluate` can warn where it scores them again. Their texts'
    fingerprints stay behind: at 144 bytes an article they can outgrow the rest, and older versions refuse such a file.

    Raises:
        UserError: vocabulary and ids are too long for a safetensors header.
        OSError: the file cannot be written.
    """
    artifacts = stored.artifacts
    tensors = {f"{WEIGHTS_PREFIX}{name}": weight.contiguous() for name, weight in stored.weights.items()}
    tensors[TEXT_VECTORS] = artifacts.text_vectors
    if artifacts.visual_vectors is not artifacts.text_vectors:
        tensors[VISUAL_VECTORS] = artifacts.visual_vectors
    content: dict[str, Any] = {
        "model": plain_config(stored.model),
        "words": [],
        "manifest": {name: artifacts.manifest[name] for name in MANIFEST_KEYS if name in artifacts.manifest}
        | {"split": {"train": artifacts.manifest["split"]["train"]}},
        "calibration": None if stored.calibration is None else stored.calibration.plain(),
        "codebook": None,
    }
    if "vectors" in artifacts.manifest:
        content["tokenizer"] = artifacts.tokenizer.to_str()
    else:
        content["words"] = vocabulary_words(artifacts.tokenizer)[2:]  # after padding and the unknown word
    tensors |= {f"{STANDARDISER_PREFIX}{name}": t for name, t in artifacts.standardiser_tensors().items()}
    if artifacts.codebook is not None:
        content["codebook"] = artifacts.codebook.settings
        arrays = {name: getattr(artifacts.codebook, name) for name in STORED}
        tensors |= {f"{CODEBOOK_PREFIX}{name}": torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    metadata = {"format": FORMAT, "content": json.dumps(content, sort_keys=True)}
    metadata[DIGEST] = _digest(metadata["content"], tensors)
    # The header holds the content as a string within JSON, so quotation marks and backslashes are escaped once more.
    if len(json.dumps(metadata)) > MAX_HEADER_BYTES // 2:
        raise UserError(f"to={path}: vocabulary and ids are too long for one file; copy the run folder instead.")
    with whole_file(path) as draft:
        save_file(tensors, draft, metadata=metadata)


def open_bundle(path: Path) -> StoredRun:
    """Read what `write_bundle` wrote; the file may come from anybody.

    Raises:
        UserError: the file is no bundle, is damaged, or its parts contradict each other.
    """
    try:
        with safe_open(path, framework="pt") as file:
            content = _parse_content(file.metadata() or {})
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            types = {name: file.get_slice(name).get_dtype() for name in shapes}
            model = _check_model(content["model"])
            words = _check_words(content["words"])
            manifest = _check_manifest(content["manifest"])
            tokenizer = _build_tokenizer(words, content.get("tokenizer"), manifest)
            rows = _count_rows(tokenizer, manifest)
            _check_shapes(shapes, model, rows, content["codebook"] is not None, manifest.get("patches"))
            wrong = next((name for name, kind in types.items() if kind not in ("F32", "F64", "BF16", "F16")), None)
            if wrong is not None:
                raise ValueError(f"{wrong} has numbers of type {types[wrong]}")
            tensors = {name: file.get_tensor(name) for name in shapes}
            _check_digest(file.metadata(), tensors, path)
        codebook = _build_codebook(tensors, content["codebook"], manifest)
        named = {name.removeprefix(STANDARDISER_PREFIX): t for name, t in tensors.items() if name in STANDARDISERS}
        standardisers = join_standardisers(named)
        calibration = None if content["calibration"] is None else Calibration.from_plain(content["calibration"])
    except Exception as error:  # safetensors and OmegaConf have their own; a stranger's JSON can raise any
        raise UserError(
            f"run={path}: this file is no bundle that can be used ({first_line(error)}). Expected one that "
            "`python -m safe_exp.export run=DIR to=FILE` wrote, whole, or a run folder."
        ) from error
    text, visual = tensors[TEXT_VECTORS], tensors.get(VISUAL_VECTORS, tensors[TEXT_VECTORS])
    weights = {name.removeprefix(WEIGHTS_PREFIX): t for name, t in tensors.items() if name.startswith(WEIGHTS_PREFIX)}
    artifacts = Artifacts(tokenizer, text, visual, codebook, manifest, standardisers=standardisers)
    return StoredRun(model, artifacts, weights, calibration, path)


def _digest(content: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a bundle's content, and of name, type, shape and numbers of each tensor."""
    digest = hashlib.sha256(content.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes, since NumPy lacks bfloat16; a tensor of no dimension has no view of another type.
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse, by a ValueError, a bundle that is not as it was written."""
    if DIGEST not in metadata:
        log.info("%s: an older version wrote this, without a digest; it is taken as it is.", path)
    elif metadata[DIGEST] != _digest(metadata["content"], tensors):
        raise ValueError("it is not as it was written")


def _parse_content(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Parse what the header holds beside the tensors; refuse another format or a missing part by a ValueError."""
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its format is {metadata.get('format', 'not said')!r:.60}, expected {FORMAT!r}")
    content = json.loads(metadata["content"])
    missing = {"model", "words", "manifest", "calibration", "codebook"} - set(content)
    if missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    return content


def _check_model(plain: Any) -> ModelConfig:
    """Convert the model's settings to their type; refuse sizes out of bounds by a ValueError."""
    _refuse_interpolation(plain)
    model = typed_model(plain)
    sizes = [model.num_filters, model.feature_dim, *model.filter_sizes]
    sizes += [n for n in (model.word_dim, model.headline_words, model.body_words) if n is not None]
    if len(model.filter_sizes) > MAX_FILTER_SIZES or not all(1 <= size <= MAX_MODEL_SIZE for size in sizes):
        raise ValueError("the model's sizes are out of bounds")
    variants[model.variant].check(model)
    return model


def _check_words(found: Any) -> list[str]:
    """Refuse, by a ValueError, words that are no strings, cannot be encoded, or occur twice."""
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise ValueError("words is not a list of words")
    "".join(found).encode()  # half of a surrogate pair, which JSON can hold and the tokenizer cannot: a ValueError
    if len({*found, PADDING, UNKNOWN}) != len(found) + 2:
        raise ValueError("a word occurs twice in the vocabulary")
    return found


def _build_tokenizer(words: list[str], stored: Any, manifest: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer of the words, or of a transformer's tokens; refuse one that does not fit by a ValueError."""
    if (stored is not None) != ("vectors" in manifest):
        raise ValueError("it has a tokenizer without a transformer, or a transformer without a tokenizer")
    if stored is None:
        return build_tokenizer(words, Cutting.from_settings(manifest["settings"]))
    entry = manifest["vectors"]
    named = isinstance(entry["model"], str) and isinstance(entry["digest"], str) and isinstance(entry["layer"], int)
    if not named or not (entry["revision"] is None or COMMIT_PATTERN.fullmatch(entry["revision"])):
        raise ValueError("its transformer has no model, revision, digest or layer that can be used")
    return Tokenizer.from_str(stored)


def _count_rows(tokenizer: Tokenizer, manifest: Mapping[str, Any]) -> int:
    """Count the rows that the table of the text's vectors must have."""
    if "vectors" not in manifest:
        return len(vocabulary_words(tokenizer))
    return 1 if manifest["vectors"]["layer"] else FIRST_TOKEN + Pieces(tokenizer).count


def _check_manifest(found: Any) -> dict[str, Any]:
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
    train = found["split"]["train"]
    if not isinstance(train, list) or not all(isinstance(article_id, str) for article_id in train):
        raise ValueError("split.train is not a list of ids")
    return found


def _refuse_interpolation(plain: Any) -> None:
    # OmegaConf would look up ${oc.env:…}, and an error message could show what it found.
    if not isinstance(plain, dict) or "${" in json.dumps(plain):
        raise ValueError("its settings are not plain values")


def _check_shapes(
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


def _build_codebook(tensors: Mapping[str, Tensor], settings: Any, manifest: Mapping[str, Any]) -> Codebook | None:
    """Build the codebook of a run on visual words; None of a run on sentences.

    Raises:
        ValueError: codebook, vectors and captioner contradict each other.
    """
    described = captioners[manifest["settings"]["captioner"]["name"]].describes_patches
    if described != (settings is not None):
        raise ValueError("it has visual words without a codebook, or a codebook without visual words")
    if settings is None:
        return None
    arrays = {name: tensors[f"{CODEBOOK_PREFIX}{name}"].numpy() for name in STORED}
    check_arrays(**arrays)
    if len(tensors[VISUAL_VECTORS]) != len(arrays["centroids"]) + 1:
        raise ValueError(f"{len(arrays['centroids'])} visual words have {len(tensors[VISUAL_VECTORS])} vectors")
    return Codebook(**arrays, settings=dict(settings))
