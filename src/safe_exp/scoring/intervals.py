"""Bootstrap intervals of a run's test figures: their spread over the choice of test articles.

Articles are drawn with replacement, as many as there are, and every figure is computed again for each such resample
(Efron 1979). An interval holds the middle 95 % of the results, by percentiles. It does not cover the choice of training
articles or of the seed, for which conf/sweep/seeds and conf/sweep/folds are there. A resample is a vector of counts, so
a figure of all resamples is a few sums over counted articles.

The calibration error needs a correction: chance adds to it, and adds once more in a resample, so that its interval
would lie above the figure. It is moved down by the distance between the resamples' mean and the figure.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch

from safe_exp.config import LossSettings
from safe_exp.config.threshold import THRESHOLD
from safe_exp.equations.loss import prediction_loss, similarity_loss_forward
from safe_exp.scoring.scores import (
    AS_TRAINED,
    CALIBRATION_BINS,
    PROBABILITY_FIGURES,
    Judgement,
    ScoredSplit,
    scorer_scores,
    scorer_thresholds,
)

log = logging.getLogger(__name__)

LEVEL = 0.95
RESAMPLES = 1000
SEED = 0  # fixed, and not the run's: the same predictions then have the same intervals
CHUNK_NUMBERS = 1 << 18  # counts held at a time: 2 MB, which stay in the cache
BIASED_FIGURE = "ece"
PROGRESS_SECONDS = 5.0

Interval: TypeAlias = tuple[float, float] | None  # None: the figure is undefined in every resample


def split_intervals(scored: ScoredSplit, loss: LossSettings, judgement: Judgement = AS_TRAINED) -> dict[str, Any]:
    """Draw the interval of every figure that `split_figures` gives for the same arguments, in the same form."""
    label, calibration = scored.label, judgement.calibration
    scores = scorer_scores(scored, calibration)
    thresholds = scorer_thresholds(scores, judgement)
    scorers: dict[str, tuple[np.ndarray, float]] = {
        name: (score.numpy(), thresholds[name]) for name, score in scores.items()
    }
    if calibration is not None:
        scorers["calibrated"] = calibration.probability(scored.logit.numpy()), THRESHOLD
    found = bootstrap_intervals(scorers, article_losses(scored, loss), label.numpy(), unranked={"calibrated"})
    if found.get("calibrated"):
        found["calibrated"] = {name: found["calibrated"][name] for name in PROBABILITY_FIGURES}
    return found


def article_losses(scored: ScoredSplit, loss: LossSettings) -> dict[str, np.ndarray]:
    """Compute the losses of each article, (N,) float64, by the names of their means in metrics.json."""
    prediction = prediction_loss(scored.logits, scored.label).double().numpy()  # (N,)
    similarity = np.zeros_like(prediction)
    if scored.similarity is not None:
        kind = loss["similarity_loss"]
        similarity = similarity_loss_forward(scored.similarity, scored.label, kind).double().numpy()
    return {
        "loss": loss["alpha"] * prediction + loss["beta"] * similarity,
        "loss_prediction": prediction,
        "loss_similarity": similarity,
    }


def bootstrap_intervals(
    scorers: Mapping[str, tuple[np.ndarray, float]],
    losses: Mapping[str, np.ndarray],
    label: np.ndarray,
    unranked: Collection[str] = (),
) -> dict[str, Any]:
    """Draw the interval of every figure of every scorer, and of every loss.

    Args:
        scorers: by name the scores, high for fake, (N,), and the threshold above which the verdict is fake.
        losses: by name each article's loss, (N,), whose mean is the figure.
        label: 1 = fake, (N,).
        unranked: names of scorers whose ranking figures are left out; they take most of the time.
    Returns:
        LEVEL, RESAMPLES and SEED; for each loss (low, high), for each scorer the same by figure. A ranking figure is
        undefined in a resample without one class; its interval is that of the other resamples.
    Example:
        >>> import numpy as np
        >>> score, loss = np.array([0.9, 0.8, 0.2, 0.1]), np.full(4, 0.25)
        >>> found = bootstrap_intervals({"prediction": (score, 0.5)}, {"loss": loss}, label=np.array([1, 1, 0, 0]))
        >>> found["prediction"]["accuracy"], found["prediction"]["auroc"], found["loss"]  # the same in every resample
        ((1.0, 1.0), (1.0, 1.0), (0.25, 0.25))
    """
    found: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in scorers}
    means: dict[str, list[np.ndarray]] = {name: [] for name in losses}
    figures = {name: ScorerFigures(score, label, cut, name not in unranked) for name, (score, cut) in scorers.items()}
    done, said = 0, time.monotonic()
    for counts in resamples(len(label)):
        done += len(counts)
        if time.monotonic() - said > PROGRESS_SECONDS:
            said = time.monotonic()
            log.info("Intervals of %s articles: %s of %s resamples", f"{len(label):,}", f"{done:,}", f"{RESAMPLES:,}")
        for name, scorer in figures.items():
            for figure, values in scorer.compute(counts).items():
                found[name].setdefault(figure, []).append(values)
        for name, loss in losses.items():
            means[name].append(counts @ loss.astype(np.float64) / len(label))
    intervals: dict[str, Any] = {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED}
    intervals |= {name: interval(np.concatenate(values)) for name, values in means.items()}
    once = np.ones((1, len(label)))
    for name, figure_parts in found.items():
        resampled = {figure: np.concatenate(chunks) for figure, chunks in figure_parts.items()}
        if BIASED_FIGURE in resampled:
            bias = resampled[BIASED_FIGURE].mean() - figures[name].compute(once)[BIASED_FIGURE]
            resampled[BIASED_FIGURE] = np.maximum(resampled[BIASED_FIGURE] - bias, 0)
        intervals[name] = dict(zip(resampled, _intervals(list(resampled.values())), strict=True))
    return intervals


def resamples(articles: int) -> Iterator[np.ndarray]:
    """Draw RESAMPLES resamples, a part of them at a time: each article's number in each, (R, N) float64.

    Example:
        >>> import numpy as np
        >>> counts = next(resamples(4))
        >>> counts.shape, bool((counts.sum(axis=1) == 4).all())
        ((1000, 4), True)
    """
    if RESAMPLES * articles > CHUNK_NUMBERS:
        return _draw_resamples(articles)
    return iter((_all_resamples(articles),))


@lru_cache(maxsize=2)
def _all_resamples(articles: int) -> np.ndarray:
    """Draw all resamples, (RESAMPLES, N); the jobs of a sweep, which have as many test articles, share them."""
    (counts,) = _draw_resamples(articles)
    counts.flags.writeable = False
    return counts


def _draw_resamples(articles: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(SEED)
    at_once = max(1, CHUNK_NUMBERS // max(articles, 1))
    for start in range(0, RESAMPLES, at_once):
        rows = min(at_once, RESAMPLES - start)
        drawn = random.integers(articles, size=(rows, articles)) + articles * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * articles).reshape(rows, articles).astype(np.float64)


def interval(values: np.ndarray) -> Interval:
    """Find the bounds of the middle LEVEL of values (R,); NaN, an undefined figure, is left out.

    Example:
        >>> import numpy as np
        >>> low, high = interval(np.arange(101.0))
        >>> round(low, 4), round(high, 4)
        (2.5, 97.5)
    """
    defined = values[np.isfinite(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _intervals(rows: Sequence[np.ndarray]) -> list[Interval]:
    """Find the `interval` of each of several figures, (R,) each; finite ones together, which takes a quarter of it."""
    if not rows or not np.isfinite(rows).all():
        return [interval(values) for values in rows]
    low, high = np.quantile(np.stack(rows), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    return list(zip(low.tolist(), high.tolist(), strict=True))


class ScorerFigures:
    """The figures of `scores.scorer_figures` for articles that are counted several times each.

    All resamples at once: 1000 of 160 articles are ranked in 1 ms, of 3000 in 0.1 s. scikit-learn's `roc_auc_score` and
    `average_precision_score` with weights, one resample after the other, take 2.3 s and 3.2 s.

    Args:
        score: in [0, 1], high for fake, (N,).
        label: 1 = fake, (N,).
        threshold: a score above it is the verdict "fake".
        ranks: compute the ranking figures too.
    Example:
        >>> import numpy as np
        >>> figures = ScorerFigures(score=np.array([0.9, 0.1]), label=np.array([1, 0]), threshold=0.5)
        >>> found = figures.compute(np.array([[1.0, 1.0], [2.0, 0.0]]))
        >>> found["accuracy"].tolist(), found["auroc"].tolist()  # the second resample lacks a class
        ([1.0, 1.0], [1.0, nan])
    """

    def __init__(self, score: np.ndarray, label: np.ndarray, threshold: float, ranks: bool = True) -> None:
        self.ranks = ranks
        fake, called = label == 1, score > threshold
        self._finite = bool(np.isfinite(score).all())
        if not self._finite:
            return
        kinds = [called & fake, called & ~fake, ~called & fake, ~called & ~fake]
        excess = score.astype(np.float64) - fake
        bins, _ = calibration_bins(score)
        inside = [excess * (bins == number) for number in np.unique(bins)]
        # True and false positives, false and true negatives, squared error, excess by bin: one product gives all sums.
        self._columns = np.stack([*kinds, excess**2, *inside], axis=1).astype(np.float64)  # (N, C)
        self._order = np.argsort(-score, kind="stable")
        self._fake = fake[self._order].astype(np.float64)
        # Of each score that a fake article has, the places of its first and its last article in that order.
        descending = score[self._order]
        last = np.append(np.flatnonzero(np.diff(descending) < 0), len(score) - 1)
        first = np.append(0, last[:-1] + 1)
        ranked = np.add.reduceat(self._fake, first) > 0
        self._first, self._last = first[ranked], last[ranked]

    def compute(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Compute each figure for each resample, (R,), from counts (R, N) float64; none where a score is not finite."""
        if not self._finite:
            return {}
        articles = counts.sum(axis=1)  # (R,)
        sums = (counts @ self._columns).T  # (C, R)
        probabilities = {"brier": sums[4] / articles, "ece": np.abs(sums[5:]).sum(axis=0) / articles}
        ranking = self._ranking(counts) if self.ranks else {}
        return {**verdict_figures(*sums[:4]), **ranking, **probabilities}

    def _ranking(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Compute AUROC and average precision for each resample, (R,), from counts (R, N)."""
        # Resamples lie side by side here, and torch adds up several of them in one instruction.
        ordered = torch.from_numpy(np.ascontiguousarray(counts.T)[self._order])  # (N, R), the highest score first
        above = ordered.cumsum(dim=0).numpy()  # articles up to this one
        fake_above = (ordered * torch.from_numpy(self._fake)[:, None]).cumsum(dim=0).numpy()
        fakes = fake_above[-1]  # (R,)
        reals = above[-1] - fakes
        both = (fakes > 0) & (reals > 0)
        above, before = above[self._last], above[self._first] - ordered.numpy()[self._first]  # (S, R)
        fake_above = fake_above[self._last]  # (S, R): fakes with each of S scores, or with a higher one
        fake_at = np.diff(fake_above, axis=0, prepend=0)
        # Reals below each score, and half of the equal ones: between the first and the last of its articles.
        outranked = reals - (above - fake_above + before - (fake_above - fake_at)) / 2
        auroc = np.einsum("sr,sr->r", fake_at, outranked) / np.where(both, fakes * reals, 1)
        average = np.einsum("sr,sr->r", fake_at, fake_above / np.maximum(above, 1)) / np.maximum(fakes, 1)
        return {"auroc": np.where(both, auroc, np.nan), "average_precision": np.where(both, average, np.nan)}


def calibration_bins(score: np.ndarray) -> tuple[np.ndarray, int]:
    """Find the bin of the calibration error that each score falls into.

    Args:
        score: in [0, 1], of any shape.
    Returns:
        Numbers of bins, in the shape of `score`, and an upper bound of these numbers.
    """
    # Torch's edges, as torchmetrics takes them: numpy's differ in a last bit, and scores lie on edges.
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1)
    return torch.bucketize(torch.from_numpy(score.astype(np.float32)), edges, right=True).numpy(), len(edges) + 1


def verdict_figures(
    found: np.ndarray, false: np.ndarray, missed: np.ndarray, passed: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute the figures of verdicts, (R,) each.

    Args:
        found: fakes called fake, (R,).
        false: reals called fake, (R,).
        missed: fakes called real, (R,).
        passed: reals called real, (R,).
    """
    f1, f1_real = _share(2 * found, 2 * found + false + missed), _share(2 * passed, 2 * passed + false + missed)
    # A class that is neither there nor called does not enter the mean, as in torchmetrics.
    classes = (found + false + missed > 0).astype(int) + (passed + false + missed > 0)
    return {
        "accuracy": (found + passed) / (found + false + missed + passed),
        "precision": _share(found, found + false),
        "recall": _share(found, found + missed),
        "f1": f1,
        "f1_macro": (f1 + f1_real) / classes,
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Compute part / whole, (R,); 0 of nothing is 0, as in torchmetrics."""
    share: np.ndarray = part / np.maximum(whole, 1)
    return share
