"""The transformer that a training chooses, and what it makes of the articles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from safe_exp.config import DataConfig, TransformerVectorsConfig
from safe_exp.data.artifacts import VocabularyEntry
from safe_exp.data.embedded import EmbeddedSentences, Standardiser, fit_standardiser, standardise_table
from safe_exp.data.encoded import CodedTexts, Sentences
from safe_exp.data.lexicon import Lexicon
from safe_exp.data.prepared import PreparedArticles
from safe_exp.data.transformer.coder import coder_of_config, make_table
from safe_exp.data.transformer.prepared_texts import code_prepared
from safe_exp.data.transformer.source import describe_vectors

SHAPING = ("digest", "layer", "standardise")  # of the entry "vectors"; a model stays the same when it is moved


class ChosenTransformer:
    """The transformer of vectors=transformer.

    Raises:
        UserError: it cannot be found, or its tokenizer cannot be read.
    """

    def __init__(self, config: TransformerVectorsConfig) -> None:
        self.config = config
        self.entry = describe_vectors(config)
        self.coder = coder_of_config(config, self.entry)

    @property
    def shaping(self) -> dict[str, Any]:
        """Settings on which the data depend, as plain values."""
        return {name: value for name, value in self.entry.items() if name in SHAPING}

    def code(self, prepared: PreparedArticles, data: DataConfig, reads: Sequence[str]) -> CodedTexts:
        """Make the sentences of all articles, as far as that was not done before.

        Raises:
            UserError: the model cannot be used, or the sentences cannot be stored.
        """
        limits = data.max_text_tokens, data.max_visual_tokens
        return code_prepared(prepared, self.coder, data.prepared, *limits, reads)

    def take_tokens(self, coded: CodedTexts, training: np.ndarray) -> Lexicon:
        """Take all tokens with their vectors; with `standardise`, by the sentences of the training side.

        Args:
            training: rows of the training articles, (n,) int64.
        Raises:
            UserError: the model's files cannot be used.
        """
        sides = {"text": coded.text, "visual": coded.captions}
        table = make_table(self.config, self.coder, max(getattr(side, "dim", 0) for side in sides.values()))
        standardisers: dict[str, Standardiser] = {}
        counts = np.zeros(len(table), np.int64)
        for name, side in sides.items() if self.config.standardise else ():
            if isinstance(side, Sentences):
                counts += np.bincount(side.stored[training].flatten(), minlength=len(table))
            elif isinstance(side, EmbeddedSentences) and side.widths[training].any():
                standardisers[name] = fit_standardiser(side, training)
        counts[0] = 0  # padding
        if counts.any():
            table = standardise_table(table, counts)
        count = self.coder.pieces.count
        entry = VocabularyEntry(
            words=count,
            with_vector=count,
            vectors=self.config.model,
            dim=table.shape[1],
            visual_words=None,
            layer=self.config.layer,
        )
        return Lexicon(self.coder.pieces.tokenizer, table, entry, standardisers)
