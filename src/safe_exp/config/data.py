"""Types of conf/data/ and conf/vectors/: the articles, their splits, and their conversion to numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from safe_exp.config.checks import check_pretrained_keys, require_at_least, require_seed
from safe_exp.config.download import DownloadConfig
from safe_exp.system.errors import UserError


class SplitMethod(str, Enum):
    """The rule that divides the articles."""

    random = "random"  # at random, stratified by class
    source = "source"  # by publisher: all articles of a publisher are in the same split
    date = "date"  # by date: the oldest articles train, the next validate, the newest test
    given = "given"  # as published: by data.columns.split, or by data.val_root and data.test_root


class DateOrder(str, Enum):
    """The order of day, month and year in a date of numbers alone."""

    dmy = "dmy"
    mdy = "mdy"
    ymd = "ymd"


MODALITIES = ("text", "visual")

# Keys of all kinds of data sets that are paths; relative ones start from the folder where the command was started.
PATH_KEYS = ("root", "val_root", "test_root", "prepared", "images", "visual_news")


def absolute_paths(data: Mapping[str, Any], started_in: Path) -> dict[str, str]:
    """Collect the paths of the group `data` of a config, by their keys, made absolute; paths that are null are not.

    Args:
        started_in: folder where the command was started.
    """
    given = {key: data.get(key) for key in PATH_KEYS}
    return {key: str(started_in / Path(path).expanduser()) for key, path in given.items() if path is not None}


REST = "rest"  # data.labels.fake=rest: every label that data.labels names nowhere else


@dataclass
class LabelsConfig:
    """The words that name the two classes in the input."""

    fake: Any = MISSING  # words for the class fake, folder names or table cells, in any case; rest: all other labels
    real: Any = MISSING  # words for the class real, folder names or table cells, in any case; rest: all other labels
    ignore: list[str] = field(default_factory=list)  # words of articles to leave out on purpose, counted

    def __post_init__(self) -> None:
        for name in ("fake", "real"):
            value = getattr(self, name)
            words = value if isinstance(value, list | tuple) else [value]
            if not all(isinstance(word, str | int | float | bool) for word in words):
                raise UserError(f"data.labels.{name}={value}: expected words, as in data.labels.{name}=[false].")
            setattr(self, name, [str(word) for word in words])
        fake, real = ([word.strip().casefold() for word in words] for words in (self.fake, self.real))
        words = [*fake, *real, *(word.strip().casefold() for word in self.ignore)]
        if not fake or not real or not all(words):
            raise UserError("data.labels.fake and data.labels.real: expected at least one word each.")
        if fake == real == [REST]:
            raise UserError(
                f"data.labels: fake and real are both {REST}. Name the labels of one class, the others follow."
            )
        for name, named in (("fake", fake), ("real", real)):
            if REST in named and len(named) > 1:
                raise UserError(
                    f"data.labels.{name}: {REST} stands for all labels that are named nowhere else, and alone, "
                    f"as in data.labels.{name}={REST}."
                )
        twice = next((word for word in words if words.count(word) > 1), None)
        if twice is not None:
            raise UserError(f"data.labels: the word '{twice}' is given twice; each word names one class.")


@dataclass
class DataConfig:
    """Keys that all kinds of data sets share."""

    name: str = MISSING  # name of the kind of data set
    root: str = MISSING  # folder or table of the articles; relative to the folder where the command is started
    val_root: str | None = MISSING  # as root, of the validation articles, for data.split=given; null: they are in root
    test_root: str | None = MISSING  # as root, of the test articles, for data.split=given; null: they are in root
    prepared: str = MISSING  # folder for prepared data sets, one for each input with its settings; made on first use
    labels: LabelsConfig = MISSING
    require: list[str] | None = MISSING  # parts an article must have: text, visual or both; null: the model's input
    download_images: bool = MISSING  # true: fetch images given as addresses, for captioners that read images
    download: DownloadConfig = MISSING
    workers: int | None = MISSING  # processes that prepare articles, >= 1; null: one for each core
    shards: int | None = MISSING  # number of shares to prepare apart, such as one a machine; null: no shares
    shard: int | None = MISSING  # number of the share that this job prepares, from 0; null: join the shares
    strict: bool = MISSING  # true: stop at the first unusable article; false: count it and leave it out
    words: str = MISSING  # words of scripts without spaces: auto (by character), spaces, or jieba, newmm, sudachi
    keep_urls: bool = MISSING  # true: addresses in texts stay, cut like other text; false: each is the one word url
    drop_repeated: bool = MISSING  # true: leave out articles whose first words, and images that, three stories share
    drop_leaks: bool = MISSING  # true: train on no article that nearly copies one of a given val or test side
    split: SplitMethod = MISSING  # division into training, validation and test articles
    dates: DateOrder | None = None  # order of dates as in 05.03.2024, for data.split=date; null: told from all
    val_fraction: float = MISSING  # validation's share of all articles (given: all but test), up to 0.5; nearest 1/n
    test_fraction: float = MISSING  # test's share of all articles, up to 0.5; the nearest 1/n
    folds: int | None = MISSING  # number of folds of a cross-validation, >= 2; null: one split by test_fraction
    fold: int = MISSING  # number of the fold that is the test split, from 0
    seed: int = MISSING  # seed of the split; apart from `seed`, so that runs of several seeds share their test articles
    batch_size: int = MISSING  # articles in a mini-batch, over all processes together, >= 1
    max_text_tokens: int = MISSING  # words and punctuation marks kept of title and body together, >= 1
    max_visual_tokens: int = MISSING  # words and punctuation marks kept of the sentence about the image, >= 1
    min_frequency: int = MISSING  # fewest occurrences in the training split that give a word a vector of its own, >= 1

    def __post_init__(self) -> None:
        self._check_preparation()
        require_seed("data.seed", self.seed)
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
        self._check_given_sides()
        if self.dates is not None and self.split is not SplitMethod.date:
            raise UserError(
                f"data.dates={self.dates.value} has no meaning with data.split={self.split.value}; it says how "
                "data.split=date reads dates. Leave it out."
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

    def _check_given_sides(self) -> None:
        if self.split is SplitMethod.given:
            if self.folds is not None:
                raise UserError(
                    f"data.folds={self.folds} with data.split=given: the given test side is one. Leave out data.folds "
                    "(data.folds=null), or let data.split=random make the folds."
                )
            return
        for key in ("val_root", "test_root"):
            if getattr(self, key) is not None:
                raise UserError(
                    f"data.{key}={getattr(self, key)} has no meaning with data.split={self.split.value}; add "
                    "data.split=given, which takes the sides as they are published."
                )
        if self.drop_leaks:
            raise UserError(
                f"data.drop_leaks=true has no meaning with data.split={self.split.value}, which keeps near-duplicates "
                "on one side. It is for data.split=given; leave it out."
            )

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
class AnyVectorsConfig:
    """The source of the vectors of words; each option of the group has its own keys."""


@dataclass
class VectorsConfig(AnyVectorsConfig):
    """Vectors of the words that the training articles hold."""

    path: str | None = MISSING  # text of GloVe, word2vec or fastText, also as .gz, .zip or .xz; null: random vectors
    dim: int = MISSING  # E, length of the random vectors, >= 1; with a file its own length is used
    seed: int = MISSING  # seed of the random vectors: of all words, or of those that the file lacks
    standardise: bool = False  # true: each dimension has mean 0 and deviation 1 over the words of the training texts

    def __post_init__(self) -> None:
        require_at_least("vectors.dim", self.dim, 1)
        require_seed("vectors.seed", self.seed)


@dataclass
class TransformerVectorsConfig(AnyVectorsConfig):
    """Vectors of a transformer's own tokens: its input embeddings, or its hidden states."""

    model: str = MISSING  # folder of a saved model (safetensors and tokenizer.json), or id on the Hugging Face hub
    revision: str | None = MISSING  # commit of the model on the hub; a folder needs none
    layer: int = MISSING  # 0: input embeddings, one vector a token; n: hidden states of layer n, -1: of the last one
    device: str = MISSING  # device that computes hidden states: auto (a GPU if there is one), cpu, cuda, cuda:N or mps
    batch_size: int = MISSING  # windows of tokens that hidden states are computed for at a time
    standardise: bool = False  # true: each dimension has mean 0 and deviation 1 over the tokens of the training side

    def __post_init__(self) -> None:
        check_pretrained_keys("vectors", self.model, self.revision, self.device)
        require_at_least("vectors.batch_size", self.batch_size, 1)


@dataclass
class StoredVectors:
    """Parts of a stored run's vectors that lie outside of the run, as the user names them to predict and evaluate."""

    model: str | None = None  # folder of the transformer whose hidden states the run reads; null: as at the training
