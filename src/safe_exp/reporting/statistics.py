"""Means, standard deviations, intervals and paired tests over the replicates (seeds, folds) of a condition."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from scipy.special import stdtr  # Student's t; importing scipy.stats takes most of a second

Key = TypeVar("Key", bound=Hashable)

FEWEST_FOR_INTERVAL = 3  # fewer replicates get no interval and no test
RESAMPLES = 10_000  # of the bootstrap
CONFIDENCE = 0.95
SEED = 0


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (n - 1) and 95 % bootstrap interval of the mean of n values; None if n is too small."""

    n: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None

    def overlaps(self, other: "Summary") -> bool | None:
        """Return True if the intervals share a point; None if one of them is not known."""
        if self.low is None or other.low is None:
            return None
        return self.low <= other.high and other.low <= self.high


def summarise(values: Sequence[float]) -> Summary:
    """Summarise values, with a percentile bootstrap whose draws are fixed: the same sweep gives the same interval."""
    n = len(values)
    if n == 0:
        return Summary(0)
    array = np.asarray(values, dtype=float)
    sd = float(array.std(ddof=1)) if n > 1 else None
    if n < FEWEST_FOR_INTERVAL:
        return Summary(n, float(array.mean()), sd)
    means = array[_draws(n)].mean(axis=1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return Summary(n, float(array.mean()), sd, float(low), float(high))


@cache
def _draws(n: int) -> np.ndarray:
    """Draw RESAMPLES samples of n positions with replacement: (RESAMPLES, n), int64."""
    return np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))


@dataclass(frozen=True)
class Comparison:
    """Differences of a condition and the reference, in pairs of equal seed and fold, and their paired test."""

    pairs: int
    difference: float | None = None  # mean over the pairs, condition minus reference
    t: float | None = None
    p: float | None = None  # two-sided; None if there are too few pairs, or all differences are equal and not 0


def compare(ours: Mapping[Key, float], reference: Mapping[Key, float], overlap: float = 0.0) -> Comparison:
    """Compare two conditions by a paired t-test, corrected for shared training articles (Nadeau and Bengio 2003).

    The plain t-test treats folds as independent and finds too many differences, since most of their training articles
    are the same. The correction widens the variance from s²/n to s² (1/n + overlap). The alternative, Wilcoxon's
    signed-rank test, can find nothing in 5 pairs, the usual number of folds: its smallest two-sided p is 0.0625.

    Args:
        ours, reference: value by replicate; a replicate that only one of them has is left out.
        overlap: test articles / training articles of a split, if the replicates are splits of the same articles;
            0 if they are seeds on one split.
    """
    shared = [key for key in ours if key in reference]
    if not shared:
        return Comparison(0)
    differences = np.array([ours[key] - reference[key] for key in shared])
    n, mean = len(differences), float(differences.mean())
    if n < FEWEST_FOR_INTERVAL:
        return Comparison(n, mean)
    variance = float(differences.var(ddof=1))
    if variance < (1e-9 * max(1.0, abs(mean))) ** 2:  # all differences are equal, apart from rounding
        return Comparison(n, mean, None, 1.0 if abs(mean) < 1e-9 else None)
    t = mean / math.sqrt(variance * (1 / n + overlap))
    return Comparison(n, mean, t, float(2 * stdtr(n - 1, -abs(t))))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for several comparisons (Holm 1979), which bounds the chance of even one false finding.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none may fall below the one before it. It is
    preferred to the false discovery rate because a sweep makes few comparisons, and each may be quoted alone. None
    stays None.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[place] = highest
    return corrected
