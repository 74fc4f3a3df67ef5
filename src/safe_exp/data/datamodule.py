"""From a folder of articles to batches, for training and for scoring."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

from safe_exp.config import CaptionerConfig, DataConfig, SyntheticDataConfig, VectorsConfig
from safe_exp.data.articles import Article, LeftOut, count_reasons, read_articles
from safe_exp.data.artifacts import MANIFEST, Artifacts, data_fingerprint, shaping_settings
from safe_exp.data.captions import build_captioner
from safe_exp.data.duplicates import minhash_signature, near_duplicate_groups, text_key
from safe_exp.data.encoded import EncodedArticles, encode_articles, news_loader
from safe_exp.data.leakage import leakage_warning
from safe_exp.data.sampler import ArticleOrder, GlobalBatches
from safe_exp.data.splits import Split, SplitColumns, make_split
from safe_exp.data.summary import summary_rows
from safe_exp.data.synthetic import write_synthetic
from safe_exp.data.text import build_tokenizer, vocabulary_words
from safe_exp.data.vectors import load_vectors
from safe_exp.errors import UserError


class FakeNewsNetDataModule(pl.LightningDataModule):
    """Reads FakeNewsNet-style folders, splits them, and turns words into numbers.

    After `setup`: `articles` and `left_out`; `split`, rows of `articles`; `encoded`, the same rows as integers;
    `text_vectors` (V, E) and `visual_vectors` (V', E'), the same tensor while one table serves both; `fingerprint`.

    Args:
        seed: orders the training articles, together with the epoch and with nothing else.
        artifacts: a folder in which an earlier start of this run may have left its tokenizer and vectors. They are then
            used, and the data must be the same as they were.
    """

    articles: list[Article]
    left_out: list[LeftOut]
    split: Split
    encoded: EncodedArticles
    text_vectors: Tensor
    visual_vectors: Tensor
    fingerprint: str
    warning: str | None

    def __init__(
        self,
        data: DataConfig,
        captioner: CaptionerConfig,
        vectors: VectorsConfig,
        seed: int,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__()
        self.data = data
        self.captioner = captioner
        self.vectors = vectors
        self.seed = seed
        self.artifacts = artifacts
        self._stored: Artifacts | None = None

    def prepare_data(self) -> None:
        articles_root(self.data)

    def setup(self, stage: str | None = None) -> None:
        """Read, split and encode, once, whatever the stage; refuses what cannot be trained on with a UserError."""
        if self._stored is not None:
            return
        data = self.data
        captioner = build_captioner(self.captioner)
        self.articles, self.left_out = read_articles(articles_root(data), captioner, data.strict)
        columns = split_columns(self.articles)
        self.split = make_split(columns, data)
        self.warning = leakage_warning(columns, self.split, data)
        settings = shaping_settings(data, self.captioner)
        self.fingerprint = data_fingerprint(self.articles, settings, self._side_ids())
        if self.artifacts is not None and (self.artifacts / MANIFEST).exists():
            stored = Artifacts.load(self.artifacts)
            self._check_unchanged(stored)
        else:
            stored = self._build_artifacts(settings)
        self.text_vectors, self.visual_vectors = stored.text_vectors, stored.visual_vectors
        self.encoded = encode_articles(self.articles, stored.tokenizer, data.max_text_tokens, data.max_visual_tokens)
        self._stored = stored

    def train_dataloader(self) -> DataLoader:
        # overfit_batches means the same few batches again and again, as Lightning has it.
        shuffled = self.trainer is None or not self.trainer.overfit_batches
        return self._loader(self.split.train, self.seed if shuffled else None)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.split.val)

    def test_dataloader(self) -> DataLoader:
        return self._loader(self.split.test)

    def summary(self) -> list[tuple[str, str]]:
        """Lines to print before training."""
        vocabulary = self.manifest()["vocabulary"]
        rows = summary_rows(self.data, self.articles, self.left_out, self.split, self.encoded, vocabulary)
        return rows + ([("caution", self.warning)] if self.warning else [])

    def manifest(self) -> dict[str, Any]:
        """Plain values: counts, what was left out and why, settings, which article stands where, fingerprint."""
        return self._stored.manifest

    def save_artifacts(self, folder: Path) -> None:
        """Write tokenizer.json, vectors.safetensors and data_manifest.json."""
        self._stored.save(folder)

    def _loader(self, rows: np.ndarray, seed: int | None = None) -> DataLoader:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return news_loader(
            self.encoded, GlobalBatches(ArticleOrder(rows, seed), self.data.batch_size, rank, world_size)
        )

    def _side_ids(self) -> dict[str, list[str]]:
        return {name: [self.articles[row].id for row in rows] for name, rows in self.split.sides().items()}

    def _build_artifacts(self, settings: dict[str, Any]) -> Artifacts:
        training = [self.articles[row] for row in self.split.train]
        tokenizer = build_tokenizer(
            (text for article in training for text in (article.title_and_text, article.caption)),
            self.data.min_frequency,
        )
        table, coverage = load_vectors(self.vectors, vocabulary_words(tokenizer))
        manifest = {
            "name": self.data.name,
            "fingerprint": self.fingerprint,
            "counts": {"all": _counts(self.articles)}
            | {name: _counts([self.articles[row] for row in rows]) for name, rows in self.split.sides().items()},
            "left_out": {
                "by_reason": count_reasons(self.left_out),
                "articles": [vars(item) for item in self.left_out],
            },
            "near_duplicates": self.split.near_duplicates,
            "without_source": self.split.without_source,
            "unplaced": {
                reason: [self.articles[row].id for row in rows] for reason, rows in self.split.unplaced.items()
            },
            "settings": settings,
            "vocabulary": {
                "words": coverage.words,
                "with_vector": coverage.found,
                "vectors": coverage.source,
                "dim": table.shape[1],
            },
            "split": self._side_ids(),
        }
        return Artifacts(tokenizer, table, table, manifest)

    def _check_unchanged(self, stored: Artifacts) -> None:
        if stored.manifest["fingerprint"] == self.fingerprint:
            return
        then, now = stored.manifest["counts"]["all"], _counts(self.articles)
        raise UserError(
            f"data.root={self.data.root}: the articles or the data settings are not those with which "
            f"{self.artifacts} was made (then {then['fake']} fake and {then['real']} real articles, "
            f"now {now['fake']} and {now['real']}; "
            f"fingerprint then {stored.manifest['fingerprint'][:12]}, now {self.fingerprint[:12]}). "
            "Restore them to continue this run, or start a new run."
        )


@dataclass(frozen=True)
class ScoredFolder:
    """A folder of labelled articles, ready to be scored by a stored run."""

    articles: list[Article]
    left_out: list[LeftOut]
    loader: DataLoader  # of NewsBatch, over all articles in their order
    text_vectors: Tensor
    visual_vectors: Tensor
    fingerprint: str
    trained_on: int  # articles whose ids stand in the run's own training split


def encode_folder(data: DataConfig, captioner: CaptionerConfig, artifacts: Path) -> ScoredFolder:
    """Read a folder of articles and encode it as the run in `artifacts` encoded its own: its words, its cuts.

    Of `data` only what concerns reading and batching is used. All articles may be of one class.

    Raises:
        UserError: nothing there to score, or the artifacts are not whole.
    """
    stored = Artifacts.load(artifacts)
    settings = stored.manifest["settings"]
    articles, left_out = read_articles(articles_root(data), build_captioner(captioner), data.strict, both_classes=False)
    encoded = encode_articles(articles, stored.tokenizer, settings["max_text_tokens"], settings["max_visual_tokens"])
    loader = news_loader(encoded, GlobalBatches(ArticleOrder(np.arange(len(articles))), data.batch_size))
    fingerprint = data_fingerprint(articles, settings, {"scored": [article.id for article in articles]})
    training = set(stored.manifest["split"]["train"])
    trained_on = sum(article.id in training for article in articles)
    return ScoredFolder(articles, left_out, loader, stored.text_vectors, stored.visual_vectors, fingerprint, trained_on)


def articles_root(data: DataConfig) -> str | Path:
    """The folder to read; the built-in data are made first, if they are not there."""
    return write_synthetic(data) if isinstance(data, SyntheticDataConfig) else data.root


def split_columns(articles: Sequence[Article]) -> SplitColumns:
    """What the split looks at; near-duplicates are found by their texts."""
    texts = [article.title_and_text for article in articles]
    no_images = np.zeros(len(articles), dtype=np.uint64)
    groups = near_duplicate_groups(
        [text_key(text) for text in texts], np.stack([minhash_signature(text) for text in texts]),
        [None] * len(articles), no_images, no_images > 0,
    ).group  # fmt: skip
    return SplitColumns(
        ids=[article.id for article in articles],
        labels=np.array([article.label for article in articles]),
        groups=groups,
        sources=[article.source for article in articles],
        dates=[article.publish_date for article in articles],
    )


def _counts(articles: Sequence[Article]) -> dict[str, int]:
    fake = sum(article.label for article in articles)
    return {"articles": len(articles), "fake": fake, "real": len(articles) - fake}
