"""conf/data, conf/vectors: which articles, how they are split, and how they become numbers."""

from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING

from safe_exp.config.checks import require_at_least
from safe_exp.config.download import DownloadConfig
from safe_exp.system.errors import UserError


class SplitMethod(str, Enum):
    random = "random"  # stratified by label
    source = "source"  # whole publishers on one side
    date = "date"  # train on the past, validate on the next, test on the newest


MODALITIES = ("text", "visual")


@dataclass
class LabelsConfig:
    fake: list[str] = MISSING  # words that name the class, as folder names or table cells, in any case
    real: list[str] = MISSING  # words that name the class, as folder names or table cells, in any case

    def __post_init__(self) -> None:
        words = [word.strip().casefold() for word in (*self.fake, *self.real)]
        if not self.fake or not self.real or not all(words):
            raise UserError("data.labels.fake and data.labels.real: expected at least one word each.")
        twice = next((word for word in words if words.count(word) > 1), None)
        if twice is not None:
            raise UserError(f"data.labels: the word '{twice}' is given twice; each word names one class.")


@dataclass
class DataConfig:
    """What every kind of data set has in common."""

    name: str = MISSING  # which reader
    root: str = MISSING  # the articles: a folder, or a table; relative to where the command is started
    prepared: str = MISSING  # folder of prepared data sets, made on first use: one for each input and its settings
    labels: LabelsConfig = MISSING
    require: list[str] | None = MISSING  # what an article must have, as in [text,visual]; null: what the model reads
    download_images: bool = MISSING  # fetch images stored as addresses (top_img), once; captioners that read images
    download: DownloadConfig = MISSING
    workers: int | None = MISSING  # processes that prepare; null: one for each core
    shards: int | None = MISSING  # prepare in so many shares, on as many machines; null: all at once
    shard: int | None = MISSING  # which share this job prepares, from 0; null: join the shares
    strict: bool = MISSING  # stop at the first unusable article instead of counting it and leaving it out
    split: SplitMethod = MISSING
    val_fraction: float = MISSING  # of all articles; the nearest 1/n of what the test split leaves
    test_fraction: float = MISSING  # of all articles; the nearest 1/n
    folds: int | None = MISSING  # k of cross-validation: data.folds=5 data.fold=0; null: one split by test_fraction
    fold: int = MISSING  # which of the k folds is the test split, from 0
    seed: int = MISSING  # draws the split; apart from `seed`, so that seeds are compared on the same test articles
    batch_size: int = MISSING  # articles in a mini-batch, over all processes together
    max_text_tokens: int = MISSING  # title and body; longer articles are cut
    max_visual_tokens: int = MISSING  # the sentence that describes the image; longer ones are cut
    min_frequency: int = MISSING  # words rarer than this in the training split share one vector

    def __post_init__(self) -> None:
        self._check_preparation()
        for key in ("batch_size", "max_text_tokens", "max_visual_tokens", "min_frequency"):
            require_at_least(f"data.{key}", getattr(self, key), 1)
        for key in ("val_fraction", "test_fraction"):
            if not 0 < getattr(self, key) <= 0.5:
                raise UserError(f"data.{key}={getattr(self, key)}: expected a share above 0 and at most 0.5.")
        if self.val_fraction + self.test_fraction > 0.8:
            raise UserError(
                f"data.val_fraction + data.test_fraction = {self.val_fraction + self.test_fraction:g}: "
                "at least 0.2 of the articles must be left to train on."
            )
        if self.folds is not None:
            require_at_least("data.folds", self.folds, 2)
            if self.split is SplitMethod.date:
                raise UserError(
                    f"data.folds={self.folds} with data.split=date: there is one newest part only. Leave out "
                    "data.folds (data.folds=null) and give its size as data.test_fraction, or use data.split=random or "
                    "data.split=source."
                )
            if not 0 <= self.fold < self.folds:
                raise UserError(
                    f"data.fold={self.fold}: expected 0 to {self.folds - 1}, since data.folds={self.folds}."
                )
        elif self.fold != 0:
            raise UserError(f"data.fold={self.fold} has no meaning without data.folds; add e.g. data.folds=5.")

    def _check_preparation(self) -> None:
        if self.require is not None and (not self.require or not set(self.require) <= set(MODALITIES)):
            raise UserError(f"data.require={self.require}: expected [text], [visual] or [text,visual].")
        if self.workers is not None:
            require_at_least("data.workers", self.workers, 1)
        if self.shards is not None:
            require_at_least("data.shards", self.shards, 1)
            if self.shard is not None and not 0 <= self.shard < self.shards:
                raise UserError(
                    f"data.shard={self.shard}: expected 0 to {self.shards - 1}, since data.shards={self.shards}."
                )
        elif self.shard is not None:
            raise UserError(f"data.shard={self.shard} has no meaning without data.shards; add e.g. data.shards=4.")


@dataclass
class VectorsConfig:
    path: str | None = MISSING  # GloVe or word2vec as text, such as glove.840B.300d.txt; null: seeded random vectors
    dim: int = MISSING  # E, length of the random vectors; a file brings its own
    seed: int = MISSING  # of the vectors for words that have none

    def __post_init__(self) -> None:
        require_at_least("vectors.dim", self.dim, 1)
