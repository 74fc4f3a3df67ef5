"""Coder: texts as the sentences that a run with vectors=transformer reads, numbers of tokens or vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from safe_exp.config import TransformerVectorsConfig
from safe_exp.data.transformer.hidden_states import HiddenStates
from safe_exp.data.transformer.pieces import Cut, Pieces
from safe_exp.data.transformer.source import VectorsEntry, find_same_model, pretrained, read_table
from safe_exp.system.errors import UserError

FIRST_TOKEN = 1  # row of token 0 in a run's table: row 0 is padding's


class Text(NamedTuple):
    """A text that is to be coded."""

    text: str
    title_length: int = 0  # characters of the title, with which it begins

    @property
    def key(self) -> str:
        """SHA-256, by which its sentence is stored."""
        return hashlib.sha256(f"{self.title_length}\n{self.text}".encode("utf-8", "surrogatepass")).hexdigest()


class Coder(Protocol):
    """Codes texts."""

    pieces: Pieces
    settings: dict[str, Any]  # plain values that shape the sentences; `name` names the folder of the store
    contextual: bool  # sentences are vectors, not numbers of tokens

    @property
    def dim(self) -> int:
        """E, numbers of a vector; of a contextual coder, and its model is loaded for it."""

    def code(self, cuts: Sequence[Cut]) -> list[np.ndarray]:
        """Code the tokens of each text: rows of a table (n,) int64, or vectors (n, E) float32."""


class TokenCoder:
    """Numbers the tokens by their row in the table of input embeddings."""

    contextual, dim = False, 0

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.settings = {"name": "tokens", "tokenizer": hashlib.sha256(pieces.tokenizer.to_str().encode()).hexdigest()}

    def code(self, cuts: Sequence[Cut]) -> list[np.ndarray]:
        return [np.array(cut.ids, np.int64) + FIRST_TOKEN for cut in cuts]


class HiddenStateCoder:
    """Computes the hidden state of each token, rounded to float16 as the store keeps it."""

    contextual = True

    def __init__(self, hidden_states: HiddenStates, entry: VectorsEntry) -> None:
        self.hidden_states, self.pieces = hidden_states, hidden_states.pieces
        self.settings = {"name": "hidden_states", "digest": entry["digest"], "layer": entry["layer"]}

    @property
    def dim(self) -> int:
        return self.hidden_states.dim

    def code(self, cuts: Sequence[Cut]) -> list[np.ndarray]:
        with np.errstate(over="ignore"):  # the store refuses infinite numbers, and an article alone has no finite score
            return [states.astype(np.float16).astype(np.float32) for states in self.hidden_states.compute(cuts)]


def coder_of_config(config: TransformerVectorsConfig, entry: VectorsEntry) -> Coder:
    """Make the coder of a training.

    Args:
        entry: of the same config.
    Raises:
        UserError: the tokenizer cannot be read.
    """
    source = pretrained(config.model, config.revision)
    folder = source.find_folder()
    if config.layer == 0:
        return TokenCoder(Pieces.load(folder))
    return HiddenStateCoder(HiddenStates(folder, source, config.layer, config.device, config.batch_size), entry)


def coder_of_run(entry: VectorsEntry, tokenizer: Tokenizer, batch_size: int = 1) -> Coder:
    """Make the coder of a stored run.

    Args:
        entry, tokenizer: of its artifacts.
        batch_size: windows of hidden states at a time. With 1 an article has the same digits alone and in any batch.
    Raises:
        UserError: the run reads hidden states, and its model is not at hand, or is another one.
    """
    if entry["layer"] == 0:
        return TokenCoder(Pieces(tokenizer))
    folder = find_same_model(entry)
    source = pretrained(entry["model"], entry["revision"])
    return HiddenStateCoder(HiddenStates(folder, source, entry["layer"], "auto", batch_size), entry)


def make_table(config: TransformerVectorsConfig, coder: Coder, dim: int) -> Tensor:
    """Make the table that a run keeps, with padding's row of zeros first.

    Args:
        dim: E of a contextual coder.
    Returns:
        (V + 1, E), all input embeddings: a token that no training article holds keeps its vector. (1, E) of a run on
        hidden states.
    Raises:
        UserError: the model's files cannot be used, or the tokenizer knows more tokens than there are vectors.
    """
    if coder.contextual:
        return torch.zeros(1, dim)
    source = pretrained(config.model, config.revision)
    table = read_table(source.find_folder(), source).float()  # (V, E)
    if len(table) < coder.pieces.count:
        raise UserError(
            f"{source.key}: the tokenizer has {coder.pieces.count:,} tokens, and there are {len(table):,} vectors. The "
            "files belong to two models."
        )
    return torch.cat([table.new_zeros(1, table.shape[1]), table[: coder.pieces.count]])
