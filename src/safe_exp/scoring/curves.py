"""The ROC curve and the precision-recall curve of a scorer.

scikit-learn computes the same points, and takes half a second to import, which every run would pay.
"""

from __future__ import annotations

import numpy as np


def roc_points(label: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the false positive rate and the true positive rate at each threshold, M each, from the highest down.

    The first point is (0, 0), where nothing is called fake.

    Args:
        label: (N,) 1 = fake, of both classes.
        scores: (N,) finite, high for fake.
    Example:
        >>> import numpy as np
        >>> x, y = roc_points(np.array([0, 1, 1]), np.array([0.5, 0.9, 0.1]))
        >>> x.tolist(), y.tolist()
        ([0.0, 0.0, 1.0, 1.0], [0.0, 0.5, 0.5, 1.0])
    """
    found, called = _count_from_the_top(label, scores)
    false = called - found
    return np.concatenate([[0.0], false / false[-1]]), np.concatenate([[0.0], found / found[-1]])


def precision_recall_points(label: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute recall and precision at each threshold, M each, from the highest threshold down.

    The first point, where nothing is called fake, has recall 0 and repeats the precision of the second. (scikit-learn's
    1 there is a convention, and would draw a line up the axis.)

    Args:
        label: (N,) 1 = fake, of both classes.
        scores: (N,) finite, high for fake.
    Example:
        >>> import numpy as np
        >>> recall, precision = precision_recall_points(np.array([0, 1]), np.array([0.9, 0.5]))
        >>> recall.tolist(), precision.tolist()
        ([0.0, 0.0, 1.0], [0.0, 0.0, 0.5])
    """
    found, called = _count_from_the_top(label, scores)
    recall, precision = found / found[-1], found / called
    return np.concatenate([[0.0], recall]), np.concatenate([precision[:1], precision])


def area_under(x: np.ndarray, y: np.ndarray) -> float:
    """Compute the area under a curve (M,), by trapezoids."""
    return float(((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2).sum())


def average_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """Compute the mean of the precisions (M,), each weighted by the recall (M,) that it adds."""
    return float((np.diff(recall) * precision[1:]).sum())


def drop_straight_points(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop the points of `roc_points`, (M,) each, whose step before equals the one after; the first two stay."""
    bends = (np.abs(np.diff(x[1:], 2)) > 1e-12) | (np.abs(np.diff(y[1:], 2)) > 1e-12)
    kept = np.concatenate([[True] * min(2, len(x) - 1), bends, [True]])
    return x[kept], y[kept]


def _count_from_the_top(label: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the fakes among the articles with a score of at least each distinct one, and these articles, (M,) each."""
    order = np.argsort(-scores, kind="stable")
    descending, fakes = scores[order], np.cumsum(label[order] == 1)
    last = np.concatenate([np.flatnonzero(np.diff(descending)), [len(descending) - 1]])
    return fakes[last], last + 1
