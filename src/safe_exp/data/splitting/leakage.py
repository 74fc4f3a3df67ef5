"""Does a split let its publishers give the labels away?"""

import math

import numpy as np

from safe_exp.config import DataConfig
from safe_exp.data.splitting.splits import Split, SplitColumns, publisher_numbers

# By chance alone a reader of publishers exceeds the majority rate by 3 standard errors in about 1 of 700 splits.
STANDARD_ERRORS = 3


def leakage_warning(columns: SplitColumns, split: Split, config: DataConfig) -> str | None:
    """A sentence for the user when the test articles' publishers, met in training, tell their labels; else None.

    Where labels belong to publishers, a model that only recognises a publisher's style scores well on a split that has
    the publisher on both sides. What that is worth is measured with a reader who knows nothing else: see
    `publisher_accuracy`.
    """
    labels = np.asarray(columns.labels)
    reader = publisher_accuracy(labels, publisher_numbers(columns.sources), split)
    fake = float(labels[split.test].mean())
    majority = max(fake, 1 - fake)
    margin = STANDARD_ERRORS * math.sqrt(majority * (1 - majority) / len(split.test))
    if reader <= majority + margin:
        return None
    return (
        f"data.split={config.split.value}: {split.shared_publishers} of {split.publishers} publishers stand on more "
        f"than one side, and who reads nothing but the publisher's name is right on {reader:.1%} of the test articles "
        f"(always giving the commoner answer: {majority:.1%}). A model may learn to tell publishers apart instead "
        "of fake from real, and its test figures will be too good for articles of other publishers. data.split=source "
        "keeps whole publishers on one side."
    )


def publisher_accuracy(labels: np.ndarray, publishers: np.ndarray, split: Split) -> float:
    """Accuracy on test of a reader who answers with the majority of the publisher's training articles.

    For a publisher that training does not know, for none, and for one with as many fakes as real articles, the answer
    is the majority of all training articles.

    Args:
        labels: (N,) 1 = fake.
        publishers: (N,) numbers from 0, -1 for none.
    """
    overall = int(2 * labels[split.train].sum() > len(split.train))
    named = split.train[publishers[split.train] >= 0]
    count = int(publishers.max(initial=-1)) + 2  # the last one is for -1
    balance = np.bincount(publishers[named], weights=2 * labels[named] - 1, minlength=count)  # fakes less real ones
    answer = np.where(balance == 0, overall, balance > 0)
    return float((answer[publishers[split.test]] == labels[split.test]).mean())
