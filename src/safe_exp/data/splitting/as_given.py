"""Split as given: the sides of a data set as they are published, and the near-duplicates that stand on two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from safe_exp.system.errors import UserError

NO_SIDE = "no side is given"
# An article of the first side that nearly copies one of the second tells its label before it is scored.
LEAKS = (("train", "test"), ("train", "val"), ("val", "test"))
ARTICLES = {"train": "training", "val": "validation", "test": "test"}


def split_as_given(given: Sequence[str | None]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Sort N articles by their given side; those without one stand on no side.

    Returns:
        Rows (n,) int64 of train, val and test by name; and rows on no side by reason.
    Raises:
        UserError: no article has a side, or none is for training or none for the test. Val may be empty.
    """
    names = np.array([side or "" for side in given], dtype=object)  # (N,)
    sides = {name: np.flatnonzero(names == name) for name in ("train", "val", "test")}
    without = np.flatnonzero(names == "")
    if len(without) == len(names):
        raise UserError(
            f"data.split=given: none of the {len(names)} articles says on which side it stands. Name the column that "
            "does, as in data.columns.split=subset, or give the other sides as data.val_root=… data.test_root=…; "
            "data.split=random draws the sides."
        )
    counts = ", ".join(f"{name} {len(rows)}" for name, rows in sides.items())
    if not len(sides["test"]):
        raise UserError(
            f"data.split=given: no usable article is for the test ({counts}). Give the test articles as "
            "data.test_root=…, or mark them test in data.columns.split; data.split=random draws a test side."
        )
    if not len(sides["train"]):
        raise UserError(
            f"data.split=given: no usable article is for training ({counts}). Point data.root at the training "
            "articles, or mark them train in data.columns.split (data.columns.split=null where that column says "
            "something else); evaluate scores articles without training on them."
        )
    return sides, {NO_SIDE: without} if len(without) else {}


def count_leaks(sides: Mapping[str, np.ndarray], groups: np.ndarray) -> dict[str, int]:
    """Count the articles that share their group of near-duplicates with an article of a later side.

    Args:
        sides: rows (n,) int64 of train, val and test.
        groups: (N,) int64; near-duplicates share a number.
    Returns:
        Counts by the names of both sides, as in "train_test": training articles that nearly copy a test article.
    """
    return {f"{early}_{late}": int(np.isin(groups[sides[early]], groups[sides[late]]).sum()) for early, late in LEAKS}


def drop_leaks(
    sides: Mapping[str, np.ndarray], groups: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Drop the articles that `count_leaks` counts; return the sides without them, and the dropped rows by reason."""
    kept, dropped = dict(sides), {}
    for early, late in LEAKS:
        leaks = np.isin(groups[kept[early]], groups[sides[late]])
        if leaks.any():
            dropped[f"{ARTICLES[early]} article nearly copies a {ARTICLES[late]} article"] = kept[early][leaks]
            kept[early] = kept[early][~leaks]
    return kept, dropped
