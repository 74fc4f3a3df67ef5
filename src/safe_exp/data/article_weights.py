"""Weights of the training articles in the loss: `model.article_weights`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from safe_exp.data.splitting.splits import number_publishers
from safe_exp.system.errors import UserError


def weigh_articles(
    labels: np.ndarray, sources: Sequence[str | None], training: np.ndarray, method: str
) -> np.ndarray | None:
    """Compute the weight of each article in the loss, with mean 1 over the training side.

    class: the weights of each class have the same sum. source: so have, within a class, those of each publisher.
    source_root: those of a publisher with n articles in a class have a sum proportional to √n.

    Args:
        labels: (N,) 1 = fake.
        sources: publishers of the N articles.
        training: rows of the training side, (n,) int64.
        method: `model.article_weights`.
    Returns:
        (N,) float32, 1 for articles that are not trained on; None where all weigh alike.
    Raises:
        UserError: publishers are to be weighed, and no training article names one.
    Example:
        >>> labels, sources = np.array([1, 0, 0, 0, 0, 0]), ["a", "b", "b", "b", "b", "c"]
        >>> weigh_articles(labels, sources, np.arange(6), "class").tolist()  # 3 for each class
        [3.0, 0.6000000238418579, 0.6000000238418579, 0.6000000238418579, 0.6000000238418579, 0.6000000238418579]
        >>> weigh_articles(labels, sources, np.arange(6), "source").tolist()  # b and c: 1.5 each
        [3.0, 0.375, 0.375, 0.375, 0.375, 1.5]
        >>> weigh_articles(labels, sources, np.arange(6), "source_root").tolist()  # b and c as 2 to 1
        [3.0, 0.5, 0.5, 0.5, 0.5, 1.0]
    """
    if method == "none":
        return None
    classes = labels[training].astype(np.int64)  # (n,)
    publishers = np.zeros_like(classes)  # (n,)
    if method != "class":
        publishers = number_publishers([sources[row] for row in training.tolist()])
        if (publishers < 0).all():
            raise UserError(
                f"model.article_weights={method}: none of the {len(training)} training articles names a publisher "
                "('source' in its file). Use model.article_weights=class, which balances the classes alone."
            )
    # Articles that name no publisher, all numbered -1, count as one: were each a publisher of its own, the articles of
    # which the least is known would have most of the weight.
    _, group, size = np.unique(np.stack([classes, publishers]), axis=1, return_inverse=True, return_counts=True)
    group = group.reshape(-1)  # (n,): publisher within class; NumPy 2.0 gives it another shape
    share = (np.sqrt(size) if method == "source_root" else np.ones(len(size)))[group] / size[group]  # (n,)
    share /= np.bincount(classes, weights=share)[classes]  # of the class; sums to 1 in each
    weights = np.ones(len(labels), np.float32)
    weights[training] = share * len(training) / len(np.unique(classes))
    return weights
