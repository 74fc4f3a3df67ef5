"""Leakage: warnings where the publishers of a split, or what repeats in its articles, give the labels away."""

import math
from collections.abc import Sequence

import numpy as np

from safe_exp.config import DataConfig, SplitMethod
from safe_exp.data.splitting.repeated import Carried, find_giveaway
from safe_exp.data.splitting.splits import Split, SplitColumns, number_publishers

# By chance alone a classifier exceeds the majority rate by 3 standard errors in about 1 of 700 splits.
STANDARD_ERRORS = 3
MOST_NAMED = 3  # of what repeats, in a warning


def leakage_warning(columns: SplitColumns, split: Split, config: DataConfig) -> str | None:
    """Write a warning where the test articles' publishers, met in training, tell their labels; else None.

    Where labels belong to publishers, a model that recognises a publisher's style scores well on a split that has the
    publisher on both sides. The accuracy of a classifier that sees the publisher alone measures this: see
    `publisher_accuracy`.
    """
    labels = np.asarray(columns.labels)
    accuracy = publisher_accuracy(labels, number_publishers(columns.sources), split)
    fake = float(labels[split.test].mean())
    majority = max(fake, 1 - fake)
    margin = STANDARD_ERRORS * math.sqrt(majority * (1 - majority) / len(split.test))
    if accuracy <= majority + margin:
        return None
    advice = "data.split=source keeps whole publishers on one side."
    if config.split is SplitMethod.given:
        advice = (
            "The sides are as given. To measure what is left for other publishers: data.split=source, without "
            "data.val_root and data.test_root."
        )
    return (
        f"data.split={config.split.value}: {split.shared_publishers} of {split.publishers} publishers stand on more "
        f"than one side, and a classifier that sees only the publisher's name reaches {accuracy:.1%} on the test "
        f"articles (always giving the commoner answer: {majority:.1%}). A model may learn to tell publishers apart "
        "instead of fake from real, and its test figures will be too good for articles of other publishers. "
        f"{advice}"
    )


def repeats_warning(carried: Carried, described: Sequence[str], labels: np.ndarray, groups: np.ndarray) -> str | None:
    """Write a warning where pictures or openings that repeat follow the class in a data set of N articles; else None.

    Args:
        carried: the pictures and openings, and the articles that carry them.
        described: a clause about each of them.
        labels: (N,) 1 = fake.
        groups: (N,) int64, near-duplicates share a number.
    """
    found = find_giveaway(carried, labels, groups)
    if found is None:
        return None
    return (
        f"What repeats follows the class: {_list_some(described, found.items)}. A classifier that sees only which "
        f"picture or opening repeats is right on {found.accuracy:.1%} of the {found.articles} articles that have "
        f"one, of {len(labels)} (always giving the commoner answer: {found.commoner:.1%}). data.drop_repeated=true "
        "leaves them out."
    )


def split_repeats_warning(
    carried: Carried, described: Sequence[str], labels: np.ndarray, groups: np.ndarray, split: Split
) -> str | None:
    """Write the warning of `repeats_warning` for what stands in training and in test articles; else None.

    The evidence comes from both sides, since the test articles alone are often too few to tell.
    """
    train, test = carried.among(split.train), carried.among(split.test)
    shared = np.intersect1d(train.item, test.item)
    on_both = np.isin(carried.item, shared)
    shared_items = Carried(carried.article[on_both], carried.item[on_both])
    found = find_giveaway(shared_items, labels, groups, np.concatenate([split.train, split.test]))
    if found is None:
        return None
    right, articles = _count_right(labels, train, test, split)
    return (
        f"What repeats over training and test articles follows the class: {_list_some(described, found.items)}. A "
        f"classifier that sees only which picture or opening repeats is right on {right} of the {articles} test "
        f"articles that have one met in training (of {len(split.test)} test articles; the commoner class: "
        f"{found.commoner:.1%}). Test figures may owe so much to them. data.drop_repeated=true leaves them out."
    )


def _list_some(described: Sequence[str], items: Sequence[int]) -> str:
    more = len(items) - MOST_NAMED
    return "; ".join(described[item] for item in items[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _count_right(labels: np.ndarray, train: Carried, test: Carried, split: Split) -> tuple[int, int]:
    """Count the test articles that the class of their items' training articles tells, and those with such an item."""
    count = max(int(train.item.max(initial=-1)), int(test.item.max(initial=-1))) + 1
    balance = np.bincount(train.item, weights=2.0 * labels[train.article] - 1, minlength=count)  # fakes minus real ones
    met = np.isin(test.item, train.item)
    rows, member = np.unique(test.article[met], return_inverse=True)
    votes = np.bincount(member, weights=balance[test.item[met]], minlength=len(rows))
    overall = 2 * labels[split.train].sum() > len(split.train)
    return int((np.where(votes == 0, overall, votes > 0) == labels[rows]).sum()), len(rows)


def publisher_accuracy(labels: np.ndarray, publishers: np.ndarray, split: Split) -> float:
    """Measure the test accuracy of a classifier that answers with the majority of the publisher's training articles.

    It answers with the majority of all training articles where the article names no publisher, or one without training
    articles or with as many fakes as real ones.

    Args:
        labels: (N,) 1 = fake, 0 = real.
        publishers: (N,) int64, numbers from 0, -1 for none: see `number_publishers`.
        split: rows of train and test.
    """
    overall = int(2 * labels[split.train].sum() > len(split.train))
    named = split.train[publishers[split.train] >= 0]
    count = int(publishers.max(initial=-1)) + 2  # one for each publisher; the last one is for -1
    balance = np.bincount(publishers[named], weights=2 * labels[named] - 1, minlength=count)  # fakes minus real ones
    answer = np.where(balance == 0, overall, balance > 0)
    return float((answer[publishers[split.test]] == labels[split.test]).mean())
