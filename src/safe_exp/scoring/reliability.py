"""Reliability of probabilities: among the articles with a probability of about p, the share that is fake."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

BINS = 10  # fewer than for the calibration error: a point is to stand for several articles
LEVEL = 0.95


class Reliability(NamedTuple):
    """One number for each of the M bins that hold an article; `counts` for all BINS."""

    mean: np.ndarray  # of the probabilities, (M,)
    share: np.ndarray  # of fakes, (M,)
    low: np.ndarray  # of Wilson's 95 % interval of the share, (M,)
    high: np.ndarray  # (M,)
    counts: np.ndarray  # articles in each bin, (BINS,) int


def reliability(label: np.ndarray, probability: np.ndarray) -> Reliability:
    """Sort probabilities into BINS equal bins, as scikit-learn's `calibration_curve` does: an edge is in the lower bin.

    Args:
        label: 1 = fake, (N,).
        probability: of fake, in [0, 1], (N,).
    Example:
        >>> import numpy as np
        >>> found = reliability(label=np.array([0, 1, 1]), probability=np.array([0.02, 0.04, 0.95]))
        >>> found.mean.round(4).tolist(), found.share.tolist()
        ([0.03, 0.95], [0.5, 1.0])
        >>> found.counts.tolist()
        [2, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    """
    place = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probability)
    counts = np.bincount(place, minlength=BINS)
    fakes = np.bincount(place[label == 1], minlength=BINS)
    used = counts > 0
    mean = np.bincount(place, weights=probability, minlength=BINS)[used] / counts[used]
    share = fakes[used] / counts[used]
    return Reliability(mean, share, *wilson_interval(share, counts[used]), counts)


def wilson_interval(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the ends of Wilson's interval (Wilson 1927) at LEVEL of shares (M,) among `count` (M,) articles."""
    z = ndtri((1 + LEVEL) / 2)
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
