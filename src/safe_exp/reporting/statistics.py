"""Means, spreads, intervals and paired tests over the replicates (seeds, folds) of a condition."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import stdtr  # Student's t; scipy.stats would take most of a second to import

FEWEST_FOR_INTERVAL = 3  # of fewer replicates no interval and no test is claimed
RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 0


@dataclass(frozen=True)
class Summary:
    """n values: their mean, standard deviation (n - 1) and the 95 % bootstrap interval of the mean."""

    n: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None

    def overlaps(self, other: "Summary") -> bool | None:
        """Whether the intervals share a point; None when one of them is not known."""
        if self.low is None or other.low is None:
            return None
        return self.low <= other.high and other.low <= self.high


def summarise(values: Sequence[float]) -> Summary:
    """Percentile bootstrap, always with the same draws, so that the same sweep gives the same interval."""
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
    return np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))  # (RESAMPLES, n) positions, with replacement


@dataclass(frozen=True)
class Comparison:
    """A condition minus the reference, in pairs of equal seed and fold."""

    pairs: int
    difference: float | None = None  # mean of the pairs'
    t: float | None = None
    p: float | None = None  # two-sided; None when there are too few pairs or all differ by exactly the same


def compare(ours: Mapping[Hashable, float], reference: Mapping[Hashable, float], overlap: float = 0.0) -> Comparison:
    """Paired t-test, with Nadeau and Bengio's correction (2003) where the pairs share training articles.

    Wilcoxon's signed-rank test was the alternative: of 5 pairs, the usual number of folds, its smallest two-sided p is
    0.0625, so it could never find anything. The plain t-test takes folds for independent and finds too much: their
    training articles are largely the same. The correction widens the variance from s²/n to s² (1/n + overlap).

    Args:
        ours, reference: value by replicate; replicates that only one of them has are left out.
        overlap: test articles / training articles of one split where the replicates are splits of the same articles;
            0 where they are seeds on one and the same split.
    """
    shared = [key for key in ours if key in reference]
    if not shared:
        return Comparison(0)
    differences = np.array([ours[key] - reference[key] for key in shared])
    n, mean = len(differences), float(differences.mean())
    if n < FEWEST_FOR_INTERVAL:
        return Comparison(n, mean)
    variance = float(differences.var(ddof=1))
    if variance < (1e-9 * max(1.0, abs(mean))) ** 2:  # rounding apart, all differ by the same
        return Comparison(n, mean, None, 1.0 if abs(mean) < 1e-9 else None)
    t = mean / math.sqrt(variance * (1 / n + overlap))
    return Comparison(n, mean, t, float(2 * stdtr(n - 1, -abs(t))))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction (1979) for several comparisons: the chance of even one false finding stays at the level.

    The smallest of m is multiplied by m, the next by m - 1, …, none falls below the one before it. Chosen over the
    false discovery rate since a sweep makes few comparisons and each may be quoted by itself. None stays None.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[place] = highest
    return corrected
