"""Texts and captions of a prepared data set as a transformer's tokens or vectors, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from safe_exp.config import MODALITIES
from safe_exp.data.embedded import EmbeddedSentences
from safe_exp.data.encoded import CodedTexts, Sentences
from safe_exp.data.prepared import PreparedArticles
from safe_exp.data.transformer.coder import Coder, Text
from safe_exp.data.vector_store import STORES, Sequenced, StoredSequences, VectorStore, fill_store


def code_prepared(
    prepared: PreparedArticles,
    coder: Coder,
    home: str,
    max_text_tokens: int,
    max_visual_tokens: int,
    reads: Sequence[str] = MODALITIES,
) -> CodedTexts:
    """Code the texts and captions of all articles, as far as that was not done before.

    An article whose image is described by no words has an empty caption.

    Args:
        home: `data.prepared`.
        reads: the modalities that the model reads; the sentences of another one are empty.
    Raises:
        UserError: the model cannot be used, or the store cannot be written.
    """
    has_text, has_caption = prepared.has_text(), prepared.has_visual()
    rows = np.arange(len(prepared))

    def texts() -> Iterator[Text | None]:
        for row, content in enumerate(prepared.contents(rows)):
            title = content["title"]
            text = Text(f"{title} {content['text']}".strip(), len(title.strip()))
            yield text if has_text[row] and "text" in reads else None

    def captions() -> Iterator[Text | None]:
        for row, content in enumerate(prepared.contents(rows)):
            caption = content["caption"] if has_caption[row] and "visual" in reads else None
            yield Text(caption) if caption else None

    text = _code(texts, coder, home, max_text_tokens, "texts")
    caption = _code(captions, coder, home, max_visual_tokens, "captions")
    return CodedTexts(_as_sentences(text, coder), _as_sentences(caption, coder), text.titles, text.cut, caption.cut)


def _code(texts: Callable[[], Iterator[Text | None]], coder: Coder, home: str, most: int, what: str) -> StoredSequences:
    """Code the texts that the store lacks, and open it; the sentence of None is empty."""
    keys = [None if text is None else text.key for text in texts()]
    store = VectorStore(Path(home).expanduser() / STORES, {**coder.settings, "max_tokens": most})

    def compute(group: list[Text]) -> list[Sequenced]:
        cuts = [coder.pieces.cut(text.text, most, text.title_length) for text in group]
        coded = coder.code(cuts)
        return [Sequenced(items, cut.title, cut.cut) for items, cut in zip(coded, cuts, strict=True)]

    def items() -> Iterator[tuple[str, Text]]:
        return ((text.key, text) for text in texts() if text is not None)

    wanted = [key for key in keys if key is not None]
    doing = f"Computing vectors of {what}" if coder.contextual else f"Cutting {what} into tokens"
    fill_store(store, wanted, items, compute, doing)
    return store.open(keys)


def _as_sentences(stored: StoredSequences, coder: Coder) -> Sentences | EmbeddedSentences:
    if not coder.contextual:
        return Sentences.from_matrix(stored.matrix())
    return replace(stored.sentences, dim=stored.dim or coder.dim)  # a store that holds nothing knows no E
