"""FakeNewsNet-style folders of a few made-up articles, and configs that point at them."""

import atexit
import csv
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from safe_exp.config import DataConfig, TrainConfig
from safe_exp.data.reading.articles import Article
from safe_exp.data.splitting.duplicates import text_key
from safe_exp.data.splitting.groups import number_keys
from safe_exp.data.splitting.splits import SplitColumns
from tests.made import compose_config

PREPARED = tempfile.mkdtemp(prefix="safe_exp-tests-")
atexit.register(shutil.rmtree, PREPARED, ignore_errors=True)
REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"  # beside the checkout, not part of it


def write_article(root: Path, article_id: str, caption: str | None = "a red boat", **content) -> Path:
    """Write an article folder; title and text name the article unless given, `caption=None` leaves the caption out."""
    folder = root / article_id
    folder.mkdir(parents=True)
    content = {"title": f"title {article_id}", "text": f"text of {article_id}"} | content
    (folder / "news_article.json").write_text(json.dumps(content), encoding="utf-8")
    if caption is not None:
        (folder / "caption.txt").write_text(caption, encoding="utf-8")
    return folder


def write_folder(root: Path, per_class: int = 20, sources: int | None = None) -> Path:
    """Write as many fake as real articles; with `sources`, each has one of so many publishers."""
    for label in ("fake", "real"):
        for number in range(per_class):
            source = {} if sources is None else {"source": f"paper-{number % sources}"}
            words = " ".join(["word"] * (1 + number % 7))
            write_article(root, f"{label}/{number:03d}", text=f"{words} {label} number {number}", **source)
    return root


def folder_config(root: Path, *overrides: str) -> DataConfig:
    config = _composed("data=fakenewsnet", "data.root=unused", *overrides).data
    return replace(config, root=str(root), prepared=PREPARED)


def table_config(table: Path | str, *overrides: str, **roots: Path | str) -> DataConfig:
    """Configure a table; `roots` are val_root and test_root."""
    config = _composed("data=table", "data.root=unused", *overrides).data
    return replace(config, root=str(table), prepared=PREPARED, **{key: str(root) for key, root in roots.items()})


def write_side_tables(folder: Path, **articles: int) -> dict[str, Path]:
    """Write a CSV of so many articles for each side, train.csv and so on: unlike texts, every second one fake."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(0)
    paths = {}
    for side, count in articles.items():
        paths[side] = folder / f"{side}.csv"
        bodies = [" ".join(f"w{word}" for word in numbers.integers(0, 400, 30)) for _ in range(count)]
        rows = [[f"{side[:2]}{n}", f"body {body}", ("real", "fake")[n % 2], "a boat"] for n, body in enumerate(bodies)]
        with paths[side].open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([["id", "text", "label", "caption"], *rows])
    return paths


@cache  # composing takes longer than most tests that use it
def _composed(*overrides: str) -> TrainConfig:
    return compose_config(*overrides)


def gather_columns(articles: Sequence[Article]) -> SplitColumns:
    """Gather the columns that decide a split; exact copies are the only duplicates."""
    return SplitColumns(
        ids=[item.id for item in articles],
        labels=np.array([item.label for item in articles]),
        groups=number_keys(text_key(item.title_and_text) for item in articles),
        sources=[item.source for item in articles],
        dates=[item.date for item in articles],
    )


def article(
    number: int, label: int, text: str | None = None, source: str | None = None, date: str | None = None
) -> Article:
    text = f"body {number}" if text is None else text
    return Article(f"{label}/{number:04d}", label, "", text, "a caption", source=source, date=date)
