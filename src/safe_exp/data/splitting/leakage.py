"""Leakage by publisher: a warning where the publishers of a split give the labels away."""

import math

import numpy as np

from safe_exp.config import DataConfig, SplitMethod
from safe_exp.data.splitting.splits import Split, SplitColumns, number_publishers

# By chance alone a classifier exceeds the majority rate by 3 standard errors in about 1 of 700 splits.
STANDARD_ERRORS = 3


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
        advice = f"The sides are as given; to measure what is left for other publishers, {advice}"
    return (
        f"data.split={config.split.value}: {split.shared_publishers} of {split.publishers} publishers stand on more "
        f"than one side, and a classifier that sees only the publisher's name reaches {accuracy:.1%} on the test "
        f"articles (always giving the commoner answer: {majority:.1%}). A model may learn to tell publishers apart "
        "instead of fake from real, and its test figures will be too good for articles of other publishers. "
        f"{advice}"
    )


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
