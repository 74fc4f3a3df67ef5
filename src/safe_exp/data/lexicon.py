"""Words of a run and their vectors, chosen from what the training articles hold."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer
from torch import Tensor

from safe_exp.config import VectorsConfig
from safe_exp.data.artifacts import VocabularyEntry
from safe_exp.data.embedded import Standardiser, standardise_table
from safe_exp.data.encoded import count_words, number_words
from safe_exp.data.prepared import PreparedArticles
from safe_exp.data.splitting.splits import Split
from safe_exp.data.text import Cutting, build_tokenizer, frequent_words, vocabulary_words
from safe_exp.data.vector_store import STORES
from safe_exp.data.vectors import load_vectors
from safe_exp.system.errors import UserError


class Lexicon(NamedTuple):
    """The words of a run and their vectors."""

    tokenizer: Tokenizer
    table: Tensor  # (V, E), row 0 = padding
    entry: VocabularyEntry  # of the manifest; its `visual_words` are None
    standardisers: dict[str, Standardiser]  # of sentences of vectors: text, visual


def choose_words(
    prepared: PreparedArticles, split: Split, vectors: VectorsConfig, min_frequency: int, cutting: Cutting
) -> Lexicon:
    """Choose the words that the training articles hold `min_frequency` times or more, and load their vectors.

    Args:
        split: rows of the articles on each side.
        cutting: of the texts into words.
    Raises:
        UserError: no word is held so often; or as `load_vectors`.
    """
    counts = count_words(prepared.text_tokens, split.train, len(prepared.words))
    if prepared.descriptors is None:
        counts += count_words(prepared.caption_tokens, split.train, len(prepared.words))
    words = frequent_words(prepared.words, counts, min_frequency)
    if not words and counts.any():
        raise UserError(
            f"data.min_frequency={min_frequency}: no word stands so often in the {len(split.train)} training articles; "
            f"the commonest stands there {counts.max()} times. Lower data.min_frequency, or train on more articles."
        )
    tokenizer = build_tokenizer(words, cutting)
    table, coverage = load_vectors(vectors, vocabulary_words(tokenizer), prepared.folder.parent / STORES)
    if vectors.standardise:
        numbers = number_words(prepared.words, tokenizer)[1:]
        table = standardise_table(table, np.bincount(numbers, counts, minlength=len(table)))
    entry = VocabularyEntry(
        words=coverage.words,
        with_vector=coverage.found,
        vectors=coverage.source,
        dim=table.shape[1],
        visual_words=None,
        unknown=_unknown_shares(prepared, split, set(words)),
    )
    return Lexicon(tokenizer, table, entry, {})


def _unknown_shares(prepared: PreparedArticles, split: Split, vocabulary: set[str]) -> dict[str, float]:
    """Compute the share of the words of the texts of val and of test that a vocabulary lacks."""
    lacking = np.array([word not in vocabulary for word in prepared.words], bool)  # (W,)
    shares = {}
    for name in ("val", "test"):
        counts = count_words(prepared.text_tokens, split.sides()[name], len(lacking))
        shares[name] = float(counts[lacking].sum() / max(1, counts.sum()))
    return shares
