"""conf/data, conf/captioner, conf/vectors: which articles, how they are split, and how they become numbers."""

from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING

from safe_exp.config.checks import require_at_least
from safe_exp.errors import UserError


class SplitMethod(str, Enum):
    random = "random"  # stratified by label
    source = "source"  # whole publishers on one side
    date = "date"  # train on the past, validate on the next, test on the newest


@dataclass
class DataConfig:
    """What every kind of data set has in common."""

    name: str = MISSING  # which reader
    root: str = MISSING  # folder of the articles; relative to where the command is started
    strict: bool = MISSING  # stop at the first unusable article instead of counting it and leaving it out
    split: SplitMethod = MISSING
    val_fraction: float = MISSING  # of all articles; the nearest 1/n of what the test split leaves
    test_fraction: float = MISSING  # of all articles; the nearest 1/n
    folds: int | None = MISSING  # k of k-fold cross-validation; null: one split by test_fraction
    fold: int = MISSING  # which of the k folds is the test split, from 0
    seed: int = MISSING  # draws the split; apart from `seed`, so that seeds are compared on the same test articles
    batch_size: int = MISSING  # articles in a mini-batch, over all processes together
    max_text_tokens: int = MISSING  # title and body; longer articles are cut
    max_visual_tokens: int = MISSING  # the sentence that describes the image; longer ones are cut
    min_frequency: int = MISSING  # a word enters the vocabulary when the training split holds it this often

    def __post_init__(self) -> None:
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


@dataclass
class SyntheticDataConfig(DataConfig):
    """The built-in data set: how many articles, and how strongly each of its two signals tells fake from real."""

    articles: int = MISSING  # half of them fake
    cue_strength: float = MISSING  # 0: cue words tell nothing; 1: they alone tell almost everything
    mismatch_strength: float = MISSING  # 0: pictures tell nothing; 1: nearly every fake's picture shows another scene

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("data.articles", self.articles, 20)
        for key in ("cue_strength", "mismatch_strength"):
            if not 0 <= getattr(self, key) <= 1:
                raise UserError(f"data.{key}={getattr(self, key)}: expected a number from 0 to 1.")


@dataclass
class CaptionerConfig:
    name: str = MISSING  # how an image becomes a sentence
    file_name: str = MISSING  # captioner=file: the sentence lies beside the article under this name


@dataclass
class VectorsConfig:
    path: str | None = MISSING  # word vectors in GloVe or word2vec text format; null: seeded random vectors
    dim: int = MISSING  # E, length of the random vectors; a file brings its own
    seed: int = MISSING  # of the vectors for words that have none

    def __post_init__(self) -> None:
        require_at_least("vectors.dim", self.dim, 1)
