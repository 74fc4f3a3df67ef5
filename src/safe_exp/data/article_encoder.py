"""Articles that a stored run is asked about, as the run read its own: a few at a time, without a prepared data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from safe_exp.data.artifacts import Artifacts
from safe_exp.data.batch import NewsBatch
from safe_exp.data.captioners import build_image_captioner, captioner_from_plain
from safe_exp.data.reading.articles import Article, LeftOut
from safe_exp.data.reading.images import decode_image, read_image_file
from safe_exp.data.reading.untrusted import UnusableArticle
from safe_exp.data.text import UNKNOWN, split_words


@dataclass
class AskedArticle:
    """One article as word numbers, with what an explanation shows of it."""

    id: str
    text_words: list[str]  # after normalisation and the cut
    title_words: int  # so many of them are the title's
    visual_words: list[str]  # of the sentence; visual words are called v1, v2, …
    text_tokens: np.ndarray  # (n,) int64
    visual_tokens: np.ndarray  # (n',) int64
    image: Image.Image | None  # as the captioner saw it


class ArticleEncoder:
    """Encodes articles with a run's own vocabulary, cuts, captioner and codebook.

    Args:
        artifacts: of the run.
        reads: the modalities that the model reads.
    """

    def __init__(self, artifacts: Artifacts, reads: Sequence[str]) -> None:
        settings = artifacts.manifest["settings"]
        self._reads = reads
        # A run that was trained with data.require=[text] knows articles without an image; others never saw one.
        self._required = set(settings["require"]) & set(reads)
        self._max_words = {"text": settings["max_text_tokens"], "visual": settings["max_visual_tokens"]}
        self._vocabulary = artifacts.tokenizer.get_vocab()
        self._codebook = artifacts.codebook
        config = captioner_from_plain(settings["captioner"])
        self._captioner_name = config.name
        self._captioner = build_image_captioner(config) if "visual" in reads else None

    def encode(self, articles: Sequence[Article], image_root: Path | None = None) -> list[AskedArticle | LeftOut]:
        """Each article encoded, or why it cannot be; in their order.

        Args:
            image_root: the resolved folder outside of which no image is read; None: each image's own.
        """
        encoded: list[AskedArticle | LeftOut] = []
        seen: list[AskedArticle] = []  # those whose picture the captioner is to look at
        for article in articles:
            try:
                item = self._words(article)
                if self._looks_at(article):
                    root = image_root or article.image.parent.resolve()
                    item.image = decode_image(read_image_file(article.image, root), article.image.name)
                    seen.append(item)
                elif "visual" in self._required and not item.visual_words:
                    raise self._no_visual(article)
                encoded.append(item)
            except UnusableArticle as error:
                encoded.append(LeftOut(article.id, error.reason, error.detail))
        self._describe(seen)
        return [self._checked(item) for item in encoded]

    def _looks_at(self, article: Article) -> bool:
        # A sentence that comes with the article takes the place of one that BLIP would write.
        return (
            self._captioner is not None
            and article.image is not None
            and not (self._codebook is None and article.caption)
        )

    def _words(self, article: Article) -> AskedArticle:
        most = self._max_words["text"] if "text" in self._reads else 0
        text = split_words(article.title_and_text, most)[0]
        title = split_words(article.title, most)[0]
        if "text" in self._required and not text:
            raise UnusableArticle("no title and no text", "the model reads words")
        reads_captions = "visual" in self._reads and self._codebook is None
        visual = split_words(article.caption, self._max_words["visual"])[0] if reads_captions else []
        return AskedArticle(article.id, text, len(title), visual, self._numbers(text), self._numbers(visual), None)

    def _describe(self, items: Sequence[AskedArticle]) -> None:
        """Let the captioner look at the pictures of these articles."""
        for start in range(0, len(items), getattr(self._captioner, "batch_size", 1)):
            batch = items[start : start + self._captioner.batch_size]
            found = self._captioner.describe([item.image for item in batch])
            if self._codebook is None:
                for item, sentence in zip(batch, found, strict=True):
                    item.visual_words = split_words(sentence, self._max_words["visual"])[0]
                    item.visual_tokens = self._numbers(item.visual_words)
            else:
                for item, numbers in zip(batch, self._codebook.encode(np.stack(found)), strict=True):
                    item.visual_words = [f"v{number}" for number in numbers]
                    item.visual_tokens = numbers.astype(np.int64)

    def _checked(self, item: AskedArticle | LeftOut) -> AskedArticle | LeftOut:
        if isinstance(item, AskedArticle) and "visual" in self._required and not item.visual_words:
            return LeftOut(item.id, "caption has no words", "the captioner had nothing to say about the image")
        return item

    def _no_visual(self, article: Article) -> UnusableArticle:
        if article.no_visual is not None:
            return UnusableArticle(*article.no_visual)
        if self._captioner is None:
            what = "the image" if article.image else "an article"
            return UnusableArticle("no caption", f"the run reads captions made elsewhere: give one with {what}")
        return UnusableArticle("no image", f"the run looks at images itself (captioner={self._captioner_name})")

    def _numbers(self, words: Sequence[str]) -> np.ndarray:
        unknown = self._vocabulary[UNKNOWN]
        return np.array([self._vocabulary.get(word, unknown) for word in words], np.int64)


def batch_of(articles: Sequence[AskedArticle]) -> NewsBatch:
    """The articles as the network takes them; they have no label, and 0 stands in its place."""
    text, text_lengths = _padded([article.text_tokens for article in articles])
    visual, visual_lengths = _padded([article.visual_tokens for article in articles])
    count = len(articles)
    return NewsBatch(
        text,
        visual,
        text_lengths,
        visual_lengths,
        torch.zeros(count, dtype=torch.int64),
        torch.arange(count),
        torch.tensor([article.title_words for article in articles]),
    )


def _padded(rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Word numbers (B, L) and lengths (B,)."""
    lengths = torch.tensor([len(row) for row in rows])  # (B,)
    padded = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)  # (B, L)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.from_numpy(row)
    return padded, lengths
