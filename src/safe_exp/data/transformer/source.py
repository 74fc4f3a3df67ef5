"""A transformer on disk or on the hub: its folder, its digest, and the table of its input embeddings."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import torch
from safetensors import safe_open
from torch import Tensor

from safe_exp.config import TransformerVectorsConfig
from safe_exp.data.pretrained import (
    WEIGHTS_FILE,
    Pretrained,
    hash_files,
    import_transformers,
    load_whole,
    quiet_transformers,
)
from safe_exp.data.transformer.pieces import TOKENIZER_FILE
from safe_exp.system.errors import UserError, first_line

log = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
HASHED = (WEIGHTS_FILE, TOKENIZER_FILE, CONFIG_FILE)
STATIC_TABLES = ("embeddings", "embedding.weight")  # the tensor of a static model: Model2Vec's, sentence-transformers'
UNREAD = ("pooler.",)  # weights that hidden states do not depend on
ALTERNATIVES = "vectors=default needs no model."


class VectorsEntry(TypedDict):
    """The entry "vectors" of data_manifest.json, of a run with vectors=transformer."""

    model: str  # folder or id, as it was given
    revision: str | None  # of an id
    digest: str  # of the model's files
    layer: int  # 0: input embeddings, which lie in the artifacts
    standardise: bool


def pretrained(model: str, revision: str | None) -> Pretrained:
    """Describe the model that vectors.model and vectors.revision name."""
    return Pretrained(
        "vectors",
        model,
        revision,
        required=(TOKENIZER_FILE, WEIGHTS_FILE),
        optional=(CONFIG_FILE,),
        expected="a transformer and its fast tokenizer, each saved by save_pretrained, or a static model of Model2Vec",
        example="sentence-transformers/all-MiniLM-L6-v2",
        alternatives=ALTERNATIVES,
    )


def describe_vectors(config: TransformerVectorsConfig) -> VectorsEntry:
    """Find the model and hash its files.

    Raises:
        UserError: it cannot be found or downloaded.
    """
    folder = pretrained(config.model, config.revision).find_folder()
    return VectorsEntry(
        model=config.model,
        revision=config.revision,
        digest=hash_files(folder, HASHED),
        layer=config.layer,
        standardise=config.standardise,
    )


def find_same_model(entry: VectorsEntry) -> Path:
    """Find the folder of the model that a run was trained with.

    Raises:
        UserError: it is not there, or has changed.
    """
    where = f"This run reads the hidden states of a transformer, {entry['model']}, which must be at hand."
    source = replace(
        pretrained(entry["model"], entry["revision"]), alternatives="Name its folder: vectors.model=FOLDER."
    )
    try:
        folder = source.find_folder()
    except UserError as error:
        raise UserError(f"{where} {error}") from error
    digest = hash_files(folder, HASHED)
    if digest != entry["digest"]:
        raise UserError(
            f"{where} {folder} holds another one (digest {digest[:12]}, of the run {entry['digest'][:12]}). Name the "
            "folder of the model with which the run was trained, as in vectors.model=FOLDER."
        )
    return folder


def read_table(folder: Path, source: Pretrained) -> Tensor:
    """Read the input embeddings of a transformer, or the vectors of a static model: (V, E), as they are stored.

    Raises:
        UserError: the files hold neither.
    """
    try:
        table = _read_static(folder)
        if table is None:
            transformers = import_transformers(source)
            log.info("Reading the input embeddings of %s", folder)
            with quiet_transformers():
                model = load_whole(transformers.AutoModel, folder, source, UNREAD)
            table = model.get_input_embeddings().weight.detach().clone()
    except UserError:
        raise
    except Exception as error:  # what transformers and safetensors raise depends on the file that is wrong
        raise unusable(folder, source, error) from error
    if table.ndim != 2 or not table.is_floating_point() or not torch.isfinite(table).all():
        raise unusable(folder, source, ValueError("its vectors are not finite numbers (V, E)"))
    return table


def is_static(folder: Path) -> bool:
    """Tell if the folder holds a static model, which has a vector for each token and no layers."""
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
        return not {*STATIC_TABLES}.isdisjoint(file.keys())


def unusable(folder: Path, source: Pretrained, error: Exception) -> UserError:
    """Return the error of a folder whose files are no model that can be used."""
    return UserError(
        f"{source.key}: no transformer can be loaded from {folder} ({first_line(error)}). Expected {source.expected}. "
        f"Was the copy complete? {ALTERNATIVES}"
    )


def _read_static(folder: Path) -> Tensor | None:
    """Read the vectors of a static model; None of a transformer.

    Model2Vec may keep fewer vectors than tokens (`mapping` has the vector of each token), and a weight of each token.
    """
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
        names = set(file.keys())
        name = next((name for name in STATIC_TABLES if name in names), None)
        if name is None:
            return None
        table = file.get_tensor(name)
        if "mapping" in names:
            table = table[file.get_tensor("mapping").long()]
        if "weights" in names:
            table = (table.double() * file.get_tensor("weights").double()[:, None]).to(table.dtype)
    return table
