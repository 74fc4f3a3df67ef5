"""A bundle: a stored run, or the jobs of a sweep as one model, as one safetensors file, to be given away.

It holds weights, vocabulary, vectors, codebook and settings; a run on hidden states names its transformer. A
safetensors file is a JSON header and plain numbers; it can hold no code. A bundle from a stranger is still checked
before anything is built from it: the settings tell the shapes that the numbers must have, the header tells those that
they have, and numbers are read only when both agree. So no more memory is allocated than the file has numbers for.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from safe_exp.config import ModelConfig, plain_config
from safe_exp.data.artifacts import Artifacts, join_standardisers
from safe_exp.data.captioners import captioners
from safe_exp.data.codebook import STORED, Codebook, check_arrays
from safe_exp.data.text import vocabulary_words
from safe_exp.runs.bundle_checks import (
    CODEBOOK_PREFIX,
    STANDARDISER_PREFIX,
    STANDARDISERS,
    TEXT_VECTORS,
    VISUAL_VECTORS,
    WEIGHTS_PREFIX,
    build_tokenizer_of,
    check_manifest,
    check_model,
    check_shapes,
    check_words,
    count_rows,
)
from safe_exp.runs.bundle_layout import Part, by_identity, check_vocabularies, join_parts, part_key, split_content
from safe_exp.runs.ensemble import Ensemble, StoredModel, require_one_kind, share_equal_parts
from safe_exp.runs.stored_run import StoredRun
from safe_exp.scoring.calibration import FOLDS, VALIDATION, Calibration
from safe_exp.system.errors import UserError, first_line
from safe_exp.system.files import DIGEST, whole_file

log = logging.getLogger(__name__)

FORMAT = "safe_exp bundle 1"  # of one run
ENSEMBLE_FORMAT = "safe_exp bundle 2"  # of several: see bundle_layout
REQUIRED = {
    FORMAT: {"model", "words", "manifest", "calibration", "codebook"},
    ENSEMBLE_FORMAT: {"members", "jobs", "calibration", "fitted_on", "vocabularies", "tokenizers", "manifests"},
}
MAX_HEADER_BYTES = 100_000_000  # the most that safetensors reads back
# Of data_manifest.json, that travel.
MANIFEST_KEYS = ("name", "fingerprint", "counts", "settings", "vocabulary", "vectors", "patches", "fitted_on")


def write_bundle(stored: StoredModel, path: Path) -> None:
    """Write all that `predict` and `evaluate` need of a model; the file appears whole or not at all.

    The ids of the training articles travel along, so that `evaluate` can warn where it scores them again. Their texts'
    fingerprints stay behind: at 144 bytes an article they can outgrow the rest, and older versions refuse such a file.

    Raises:
        UserError: vocabulary and ids are too long for a safetensors header.
        OSError: the file cannot be written.
    """
    parts = [_collect(member) for member in stored.members]
    calibration = {"calibration": None if stored.calibration is None else stored.calibration.plain()}
    if isinstance(stored, Ensemble):
        form, (content, tensors) = ENSEMBLE_FORMAT, join_parts(parts, _is_weight)
        content |= {"jobs": list(stored.jobs.items()), "fitted_on": stored.fitted_on}
    else:
        form, (content, tensors) = FORMAT, parts[0]
    metadata = {"format": form, "content": json.dumps(content | calibration, sort_keys=True)}
    metadata[DIGEST] = _digest(metadata["content"], tensors)
    # The header holds the content as a string within JSON, so quotation marks and backslashes are escaped once more.
    if len(json.dumps(metadata)) > MAX_HEADER_BYTES // 2:
        raise UserError(f"to={path}: vocabulary and ids are too long for one file; copy the run folder instead.")
    with whole_file(path) as draft:
        save_file(tensors, draft, metadata=metadata)


def _is_weight(name: str) -> bool:
    return name.startswith(WEIGHTS_PREFIX)


def _collect(stored: StoredRun) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Collect the plain values and the tensors of one model."""
    artifacts = stored.artifacts
    tensors = {f"{WEIGHTS_PREFIX}{name}": weight.contiguous() for name, weight in stored.weights.items()}
    tensors[TEXT_VECTORS] = artifacts.text_vectors
    if artifacts.visual_vectors is not artifacts.text_vectors:
        tensors[VISUAL_VECTORS] = artifacts.visual_vectors
    content: dict[str, Any] = {
        "model": plain_config(stored.model),
        "words": [],
        "manifest": {name: artifacts.manifest[name] for name in MANIFEST_KEYS if name in artifacts.manifest}
        | {"split": {"train": artifacts.training_ids}},
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
    return content, tensors


def open_bundle(path: Path) -> StoredModel:
    """Read what `write_bundle` wrote; the file may come from anybody.

    Raises:
        UserError: the file is no bundle, is damaged, or its parts contradict each other.
    """
    try:
        with safe_open(path, framework="pt") as file:
            content, form = _parse_content(file.metadata() or {})
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            types = {name: file.get_slice(name).get_dtype() for name in shapes}
            single = [Part(content, {name: name for name in shapes})]
            parts = single if form == FORMAT else split_content(content, shapes, _is_weight)
            for words in by_identity(part.content["words"] for part in parts):
                check_words(words)
            for manifest in by_identity(part.content["manifest"] for part in parts):
                check_manifest(manifest)
            check_vocabularies(parts, _is_weight)
            models = [_check_part(part, shapes) for part in parts]
            wrong = next((name for name, kind in types.items() if kind not in ("F32", "F64", "BF16", "F16")), None)
            if wrong is not None:
                raise ValueError(f"{wrong} has numbers of type {types[wrong]}")
            tensors = {name: file.get_tensor(name) for name in shapes}
            _check_digest(file.metadata(), tensors, path)
        calibration = None if content["calibration"] is None else Calibration.from_plain(content["calibration"])
        members = _build_members(parts, models, tensors, path)
        if form == FORMAT:
            return replace(members[0], calibration=calibration)
        jobs = _check_jobs(content, len(members))
        require_one_kind(members, list(jobs))
        return Ensemble(members, jobs, calibration, path, fitted_on=content["fitted_on"])
    except Exception as error:  # safetensors and OmegaConf have their own; a stranger's JSON can raise any
        raise UserError(
            f"run={path}: this file is no bundle that can be used ({first_line(error)}). Expected one that "
            "`python -m safe_exp.export run=DIR to=FILE` wrote, whole, or a run folder."
        ) from error


def _check_part(part: Part, shapes: Mapping[str, tuple[int, ...]]) -> ModelConfig:
    """Compare the settings of one model, whose words and manifest are checked, with the shapes in the header.

    Raises:
        ValueError, UserError: they contradict each other, or are out of bounds.
    """
    model = check_model(part.content["model"])
    own = {name: shapes[place] for name, place in part.tensors.items()}
    has_codebook, patches = part.content["codebook"] is not None, part.content["manifest"].get("patches")
    check_shapes(own, model, count_rows(part.content), has_codebook, patches)
    return model


def _check_jobs(content: Mapping[str, Any], members: int) -> dict[str, str]:
    """Refuse, by a ValueError, other names than one for each member, or a calibration on articles of another kind."""
    jobs = {name: different for name, different in content["jobs"] if isinstance(name, str)}
    if len(jobs) != members or not all(isinstance(different, str) for different in jobs.values()):
        raise ValueError("jobs does not name each of its models")
    if content["fitted_on"] not in (VALIDATION, FOLDS):
        raise ValueError("fitted_on names no articles that a calibration is fitted on")
    return jobs


def _build_members(
    parts: Sequence[Part], models: Sequence[ModelConfig], tensors: Mapping[str, Tensor], path: Path
) -> tuple[StoredRun, ...]:
    """Build the checked models of a bundle; those with the same artifacts, or equal parts of them, share these."""
    built: dict[str, Artifacts] = {}
    of_vocabulary: dict[tuple[int, int], list[Artifacts]] = {}
    members = []
    for part, model in zip(parts, models, strict=True):
        own = {name: tensors[place] for name, place in part.tensors.items()}
        key = part_key(part, _is_weight)
        if key not in built:
            # Others are not compared: a stranger's file could hold a thousand large vocabularies.
            known = of_vocabulary.setdefault((id(part.content["words"]), id(part.content.get("tokenizer"))), [])
            built[key] = share_equal_parts(_build_artifacts(part.content, own), known)
            known.append(built[key])
        weights = {name.removeprefix(WEIGHTS_PREFIX): tensor for name, tensor in own.items() if _is_weight(name)}
        members.append(StoredRun(model, built[key], weights, None, path))
    return tuple(members)


def _build_artifacts(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Artifacts:
    """Build the artifacts of a checked model.

    Raises:
        ValueError: codebook, vectors and captioner contradict each other.
    """
    manifest = content["manifest"]
    codebook = _build_codebook(tensors, content["codebook"], manifest)
    text, visual = tensors[TEXT_VECTORS], tensors.get(VISUAL_VECTORS, tensors[TEXT_VECTORS])
    named = {name.removeprefix(STANDARDISER_PREFIX): t for name, t in tensors.items() if name in STANDARDISERS}
    standardisers = join_standardisers(named)
    return Artifacts(build_tokenizer_of(content), text, visual, codebook, manifest, standardisers=standardisers)


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


def _parse_content(metadata: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Parse what the header holds beside the tensors, and its format; refuse a missing part by a ValueError."""
    form = metadata.get("format", "not said")
    if form not in REQUIRED:
        raise ValueError(f"its format is {form!r:.60}, expected {FORMAT!r} or {ENSEMBLE_FORMAT!r}")
    content = json.loads(metadata["content"])
    missing = REQUIRED[form] - set(content)
    if missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    return content, form


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
