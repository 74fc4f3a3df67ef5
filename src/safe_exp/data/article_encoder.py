"""Encoder of single articles for a stored run: a few at a time, without a prepared data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from safe_exp.data.artifacts import Artifacts
from safe_exp.data.batch import NewsBatch
from safe_exp.data.captioners import PatchCaptioner, PatchGrid, build_image_captioner, captioners
from safe_exp.data.gallery import Description, Gallery, fill
from safe_exp.data.reading.articles import Article, ImageRoot, LeftOut, Picture
from safe_exp.data.reading.images import decode_image, read_picture
from safe_exp.data.reading.untrusted import UnusableArticle
from safe_exp.data.shared_reading import SharedReading
from safe_exp.data.text import UNKNOWN, Cutting, split_words
from safe_exp.data.transformer.coder import coder_of_run
from safe_exp.data.word_cutters import word_cutters

Grids: TypeAlias = "Sequence[tuple[int, int]]"  # rows and columns of each level of an image's patches


@dataclass
class EncodedArticle:
    """One article as word numbers or vectors, with the words and the image that an explanation shows."""

    id: str
    text_words: list[str]  # after normalisation and the cut
    title_words: int  # how many of them belong to the title
    visual_words: list[str]  # of the sentence; words of a codebook are called v1, v2, …
    text_tokens: np.ndarray  # (n,) int64, or vectors (n, E) float32
    visual_tokens: np.ndarray  # (n',) int64, or vectors (n', Ev) float32
    images: list[Image.Image]  # as the captioner saw them; with visual words each has as many of them
    grids: list[Grids] = field(default_factory=list)  # of each image; none where a sentence describes it


class _ReadText(NamedTuple):
    """A text as a run reads it."""

    words: list[str]
    title: int  # how many of them belong to the title
    tokens: np.ndarray  # (n,) int64, or vectors (n, E) float32


class ArticleEncoder:
    """Encode articles with a run's own vocabulary, cuts, captioner and codebook.

    Args:
        artifacts: the run's artifacts.
        reads: the modalities that the model reads.
    Raises:
        UserError: the captioner's settings or its model's folder cannot be used, the run's word cutter is not
            installed, or the transformer whose hidden states the run reads is not at hand.
    """

    def __init__(self, artifacts: Artifacts, reads: Sequence[str]) -> None:
        settings = artifacts.manifest["settings"]
        self._reads = reads
        # A run with data.require=[text] was trained on articles without an image, too. Other runs never saw one.
        self._required = set(settings["require"]) & set(reads)
        self._max_words = {"text": settings["max_text_tokens"], "visual": settings["max_visual_tokens"]}
        self._cutting = Cutting.from_settings(settings)
        word_cutters[self._cutting.words].require_package()
        self._vocabulary = artifacts.tokenizer.get_vocab()
        self._codebook = artifacts.codebook
        self._standardisers = artifacts.standardisers
        self._coder = None
        if "vectors" in artifacts.manifest:
            entry = artifacts.manifest["vectors"]
            self._coder = coder_of_run(entry, artifacts.tokenizer)
            self._transformer = entry["digest"], entry["layer"]
        config = artifacts.captioner(reads)
        self._captioner_name = config.name
        self._grids = [(grid, grid) for grid in config.grids]
        self._patch_dim = artifacts.visual_vectors.shape[1] if captioners[config.name].gives_vectors else None
        self._captioner = build_image_captioner(config) if "visual" in reads else None

    def encode(
        self,
        articles: Sequence[Article],
        image_root: ImageRoot | None = None,
        shared: SharedReading | None = None,
    ) -> list[EncodedArticle | LeftOut]:
        """Encode each article, or give the reason why it cannot be encoded; in the order of the articles.

        Args:
            image_root: the resolved folder outside of which no image is read; None: each image's own folder.
            shared: receives work that other encoders of the same articles need not do again, and holds theirs.
        Raises:
            UserError: the captioner's model cannot be loaded.
        """
        shared = shared or SharedReading()
        encoded: list[EncodedArticle | LeftOut] = []
        undescribed: list[int] = []  # places of articles whose images are shown to the captioner, all together
        for place, article in enumerate(articles):
            try:
                item = self._encode_words(article, shared)
                if self._needs_description(article):
                    undescribed.append(place)
                elif "visual" in self._required and not item.visual_words:
                    raise self._explain_no_visual(article)
                encoded.append(item)
            except UnusableArticle as error:
                encoded.append(LeftOut(article.id, error.reason, error.detail))
        galleries = self._describe([articles[place] for place in undescribed], image_root, shared)
        for place, gallery in zip(undescribed, galleries, strict=True):
            try:
                self._add_images(cast(EncodedArticle, encoded[place]), gallery, shared)
            except UnusableArticle as error:
                encoded[place] = LeftOut(articles[place].id, error.reason, error.detail)
        return [self._require_description(item) for item in encoded]

    def _needs_description(self, article: Article) -> bool:
        # A sentence that comes with the article replaces the one that a captioner would write.
        replaced = self._reads_sentences and article.caption
        return self._captioner is not None and bool(article.images) and not replaced

    @property
    def _reads_sentences(self) -> bool:
        return self._codebook is None and self._patch_dim is None

    def _encode_words(self, article: Article, shared: SharedReading) -> EncodedArticle:
        most = self._max_words["text"] if "text" in self._reads else 0
        text = self._read(shared, "text", article.title_and_text, most, len(article.title.strip()))
        if "text" in self._required and not text.words:
            raise UnusableArticle("no title and no text", "the model reads words")
        if "visual" in self._reads and self._reads_sentences:
            visual = self._read_caption(shared, article.caption)
        else:  # whatever the texts are: visual words are numbers where texts are hidden states
            nothing = np.zeros(0, np.int64) if self._patch_dim is None else np.zeros((0, self._patch_dim), np.float32)
            visual = _ReadText([], 0, nothing)
        return EncodedArticle(article.id, text.words, text.title, visual.words, text.tokens, visual.tokens, [])

    def _read(self, shared: SharedReading, side: str, text: str, most: int, title_length: int = 0) -> _ReadText:
        """Cut a text into words, or into the tokens of a transformer, and number or embed them.

        Args:
            shared: work of other encoders of the same articles.
            side: text or visual.
            most: words or tokens, at most.
            title_length: characters of the title, with which the text begins.
        """
        if self._coder is None:
            cutting = self._cutting if side == "text" else self._cutting.of_captions()
            words = shared.split(text, most, cutting)
            title = shared.split(text[:title_length], most, cutting)
            return _ReadText(words, len(title), self._number_words(words))
        cut, tokens = shared.code(self._coder, self._transformer, text, most, title_length)
        if side in self._standardisers:
            tokens = self._standardisers[side].apply(torch.from_numpy(tokens)).numpy()
        return _ReadText(cut.words(), cut.title, tokens)

    def _read_caption(self, shared: SharedReading, sentence: str) -> _ReadText:
        return self._read(shared, "visual", sentence, self._max_words["visual"])

    def _describe(
        self, articles: Sequence[Article], image_root: ImageRoot | None, shared: SharedReading
    ) -> list[Gallery]:
        """Describe the images of articles, as far as these have room for them, unless another encoder has done it."""
        galleries = [Gallery(article.images, self._max_words["visual"], self._count_words) for article in articles]
        decoded, found = shared.decoded, shared.described

        def describe(pictures: list[Picture]) -> dict[Picture, Description | UnusableArticle]:
            new = [picture for picture in pictures if picture not in found]
            for picture in new:
                try:
                    content = read_picture(picture, image_root or _own_folder(picture))
                    decoded[picture] = decode_image(content, picture.name)
                except UnusableArticle as error:
                    found[picture] = error
            good = [picture for picture in new if picture not in found]
            for start in range(0, len(good), self._captioner.batch_size):
                batch = good[start : start + self._captioner.batch_size]
                described = self._captioner.describe([decoded[picture] for picture in batch])
                found.update(zip(batch, described, strict=True))
            return {picture: found[picture] for picture in pictures}

        fill(galleries, describe)
        return galleries

    def _add_images(self, item: EncodedArticle, gallery: Gallery, shared: SharedReading) -> None:
        """Add the words of an article's images, and the images themselves.

        Raises:
            UnusableArticle: none of the images can be used.
        """
        if not gallery.taken:
            raise gallery.refused[0]
        item.images = [shared.decoded[taken.picture] for taken in gallery.taken]
        if self._patch_dim is not None:
            self._add_patches(item, [cast(PatchGrid, taken.description) for taken in gallery.taken])
        elif self._codebook is None:
            visual = self._read_caption(shared, gallery.sentence)
            item.visual_words, item.visual_tokens = visual.words, visual.tokens
        else:
            described = [cast(np.ndarray, taken.description) for taken in gallery.taken]
            patches = np.stack(described)  # (images, P, F)
            numbers = self._codebook.encode(patches).ravel()
            item.visual_words = [f"v{number}" for number in numbers]
            item.visual_tokens = numbers.astype(np.int64)
            item.grids = [self._grids] * len(item.images) if self._grids else []

    def _add_patches(self, item: EncodedArticle, found: Sequence[PatchGrid]) -> None:
        """Add the vectors of the patches of an article's images. A patch is called by its row and column, from 0."""
        item.images = [cast(PatchCaptioner, self._captioner).view(image) for image in item.images]
        item.grids = [[(each.rows, each.columns)] for each in found]
        places = [(row, column) for each in found for row in range(each.rows) for column in range(each.columns)]
        item.visual_words = [f"r{row}c{column}" for row, column in places]
        vectors = (
            torch.from_numpy(np.concatenate([each.sequence for each in found])).half().float()
        )  # as they are stored
        if "visual" in self._standardisers:
            vectors = self._standardisers["visual"].apply(vectors)
        item.visual_tokens = vectors.numpy()

    def _count_words(self, sentence: str) -> int:
        return len(split_words(sentence, self._max_words["visual"], self._cutting.of_captions())[0])

    def _require_description(self, item: EncodedArticle | LeftOut) -> EncodedArticle | LeftOut:
        if isinstance(item, EncodedArticle) and "visual" in self._required and not item.visual_words:
            return LeftOut(item.id, "caption has no words", "the captioner had nothing to say about the image")
        return item

    def _explain_no_visual(self, article: Article) -> UnusableArticle:
        if article.no_visual is not None:
            return UnusableArticle(*article.no_visual)
        if self._captioner is None:
            what = "the image" if article.images else "an article"
            return UnusableArticle("no caption", f"the run reads captions made elsewhere: give one with {what}")
        return UnusableArticle("no image", f"the run looks at images itself (captioner={self._captioner_name})")

    def _number_words(self, words: Sequence[str]) -> np.ndarray:
        unknown = self._vocabulary[UNKNOWN]
        return np.array([self._vocabulary.get(word, unknown) for word in words], np.int64)


def _own_folder(picture: Picture) -> Path:
    """Return the folder of a file that the user chose; a picture in a table has none, and is not looked for."""
    return picture.parent.resolve() if isinstance(picture, Path) else Path()


def make_batch(articles: Sequence[EncodedArticle]) -> NewsBatch:
    """Make the batch of B articles. They have no label; 0 stands in its place."""
    text, text_lengths = _pad_rows([article.text_tokens for article in articles])
    visual, visual_lengths = _pad_rows([article.visual_tokens for article in articles])
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


def _pad_rows(rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Pad B sentences, word numbers (n,) or vectors (n, E), with zeros: (B, L) or (B, L, E), and lengths (B,) int64."""
    lengths = torch.tensor([len(row) for row in rows])  # (B,)
    dtype = torch.float32 if rows[0].ndim == 2 else torch.int64
    padded = torch.zeros(len(rows), int(lengths.max()), *rows[0].shape[1:], dtype=dtype)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.from_numpy(row)
    return padded, lengths
