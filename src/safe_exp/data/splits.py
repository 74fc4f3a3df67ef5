"""Which articles are trained on, which pick the checkpoint, and which are scored once at the end."""

import hashlib
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from safe_exp.config import DataConfig, SplitMethod
from safe_exp.data.articles import Article
from safe_exp.errors import UserError


@dataclass(frozen=True)
class Split:
    """Rows of the articles on each side, ascending, and what was kept together."""

    train: np.ndarray  # (n_train,) int64
    val: np.ndarray
    test: np.ndarray
    groups: int  # what was dealt out: articles or publishers, copies joined
    copies: int  # articles whose text another article has as well
    without_source: int  # articles that name no publisher

    def sides(self) -> dict[str, np.ndarray]:
        return {"train": self.train, "val": self.val, "test": self.test}


def make_split(articles: Sequence[Article], config: DataConfig) -> Split:
    """Deal the articles out to train, val and test, by `data.seed` alone.

    Copies, articles whose title and body are the same up to case, punctuation and white space, always stand on one
    side; under split=source whole publishers do. The test side is fold `data.fold` of `data.folds`, or of
    round(1/test_fraction); val is one fold of what that leaves, with as many folds as come nearest to val_fraction of
    all articles.

    Raises:
        UserError: too few articles or publishers of a class, or a side without one of the classes, on which AUROC
            would be undefined.
    """
    labels = np.array([article.label for article in articles])
    copies = np.array(_numbered(copy_key(article) for article in articles))
    sources = [_source_key(article.source) for article in articles]
    by_source = config.split is SplitMethod.source
    if by_source and not any(sources):
        raise UserError(
            f"data.split=source: none of the {len(articles)} articles names a publisher ('source' in its file). "
            "Use data.split=random."
        )
    groups = _join_publishers(copies, sources) if by_source else copies
    folds = config.folds or round(1 / config.test_fraction)
    val_folds = max(2, round((1 - 1 / folds) / config.val_fraction))

    rows = np.arange(len(articles))
    test_parts = _deal(rows, labels, groups, folds, config, "data.folds" if config.folds else "data.test_fraction")
    test = test_parts[config.fold] if config.folds else _first_with_both(test_parts, labels)
    rest = np.setdiff1d(rows, test)
    val = _first_with_both(_deal(rest, labels, groups, val_folds, config, "data.val_fraction"), labels)
    split = Split(
        train=np.setdiff1d(rest, val),
        val=val,
        test=test,
        groups=len(set(groups)),
        copies=int((np.bincount(copies)[copies] > 1).sum()),
        without_source=sum(source is None for source in sources),
    )
    _check_sides(split, labels, config)
    return split


def copy_key(article: Article) -> str:
    """What copies of an article have in common: title and body without case, punctuation and runs of white space.

    A text of punctuation alone would lose everything, and with it all such articles would count as copies; it keeps its
    characters.
    """
    folded = article.title_and_text.casefold()
    words = " ".join(re.sub(r"[\W_]+", " ", folded).split())
    return hashlib.sha256((words or f"!{folded}").encode()).hexdigest()


def _source_key(source: str | None) -> str | None:
    """A publisher's name, or address without protocol and www: both spellings of an address are one publisher."""
    key = re.sub(r"^(https?://)?(www\.)?", "", (source or "").strip().casefold()).rstrip("/")
    return key or None


def _numbered(keys: Iterable[Hashable]) -> list[int]:
    """0, 1, 2, … for the keys in the order in which they first appear; equal keys get equal numbers."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _join_publishers(copies: np.ndarray, sources: Sequence[str | None]) -> np.ndarray:
    """Groups of articles linked by a publisher or a copy, over any number of steps; others stand alone."""
    parent = list(range(int(copies.max()) + 1))  # one node for each group of copies

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    first_of_source: dict[str, int] = {}
    for copy, source in zip(copies.tolist(), sources, strict=True):
        if source is not None:
            parent[find(copy)] = find(first_of_source.setdefault(source, copy))
    return np.array(_numbered(find(copy) for copy in copies.tolist()))


def _deal(
    rows: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int, config: DataConfig, key: str
) -> list[np.ndarray]:
    """Deal `rows` into `folds` parts that keep whole groups and, as far as these allow, the share of fakes."""
    _check_enough(rows, labels, groups, folds, config, key)
    if config.split is SplitMethod.source:
        dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=config.seed)
        return [rows[part] for _, part in dealer.split(rows, labels[rows], groups[rows])]
    # Copies are few: one row of each group is dealt, with the label of most of its articles, and the others follow it.
    unique, first = np.unique(groups[rows], return_index=True)
    first_labels = np.array([_majority(labels[rows[groups[rows] == g]]) for g in unique])
    order = np.argsort(first)  # in the order of the ids
    dealer = StratifiedKFold(folds, shuffle=True, random_state=config.seed)
    parts = [unique[order][part] for _, part in dealer.split(order, first_labels[order])]
    return [rows[np.isin(groups[rows], part)] for part in parts]


def _majority(labels: np.ndarray) -> int:
    return int(2 * labels.sum() >= len(labels))


def _check_enough(
    rows: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int, config: DataConfig, key: str
) -> None:
    unit = "publishers" if config.split is SplitMethod.source else "articles, copies counted once,"
    for label, name in ((1, "fake"), (0, "real")):
        count = len(set(groups[rows[labels[rows] == label]].tolist()))
        if count < folds:
            raise UserError(
                f"{key}: {folds} parts with both classes in each need at least {folds} {unit} with {name} news; "
                f"there are {count}. {_advice(config)}"
            )


def _first_with_both(parts: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    # Large publishers can leave a part with one class; any other part is as good a draw.
    return next((part for part in parts if len(set(labels[part].tolist())) == 2), parts[0])


def _check_sides(split: Split, labels: np.ndarray, config: DataConfig) -> None:
    for name, rows in split.sides().items():
        count = Counter(labels[rows].tolist())
        if not (count[0] and count[1]):
            raise UserError(
                f"data.split={config.split.value}, data.seed={config.seed}, data.fold={config.fold}: the {name} split "
                f"has {count[1]} fake and {count[0]} real articles; each split needs both. {_advice(config)}"
            )


def _advice(config: DataConfig) -> str:
    fewer = "fewer data.folds" if config.folds else "a larger data.test_fraction or data.val_fraction"
    other = ", data.split=random" if config.split is SplitMethod.source else ""
    return f"Use {fewer}, another data.seed{other}, or more articles."
