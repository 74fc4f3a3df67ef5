"""How far a run's test figures could have come out otherwise by the choice of test articles alone: the bootstrap.

Articles are drawn with replacement, as many as there are, and every figure is computed again for each such resample
(Efron 1979); an interval holds the middle 95 % of what comes out, by percentiles. It says nothing of the choice of
training articles or of the seed, for which conf/sweep/seeds and conf/sweep/folds are there. A resample is a vector of
counts, so a figure of all resamples is a few sums over counted articles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safe_exp.calibration import Calibration
from safe_exp.equations.loss import prediction_loss, similarity_loss_forward
from safe_exp.scores import CALIBRATION_BINS, PROBABILITY_FIGURES, THRESHOLD, logit_of, scorers_of, thresholds_of

LEVEL = 0.95
RESAMPLES = 1000
SEED = 0  # fixed, and not the run's: the same predictions then have the same intervals
CHUNK_NUMBERS = 4_000_000  # counts held at a time

Interval = tuple[float, float] | None  # None: the figure is undefined in every resample


def split_intervals(
    columns: Mapping[str, Tensor | None],
    alpha: float,
    beta: float,
    similarity_loss: str,
    calibration: Calibration | None = None,
    threshold: float | str = THRESHOLD,
) -> dict[str, Any]:
    """The interval of every figure that `split_figures` gives for the same arguments, in the same shape."""
    label = columns["label"]
    scores = scorers_of(columns, calibration)
    cuts = thresholds_of(scores, calibration, threshold)
    scorers = {name: (score.numpy(), cuts[name]) for name, score in scores.items()}
    if calibration is not None:
        scorers["calibrated"] = calibration.probability(logit_of(columns).numpy()), THRESHOLD
    prediction = prediction_loss(columns["logits"], label).double().numpy()  # (N,)
    similarity = np.zeros_like(prediction)
    if columns["similarity"] is not None:
        similarity = similarity_loss_forward(columns["similarity"], label, similarity_loss).double().numpy()
    losses = {
        "loss": alpha * prediction + beta * similarity,
        "loss_prediction": prediction,
        "loss_similarity": similarity,
    }
    found = bootstrap_intervals(scorers, losses, label.numpy())
    if "calibrated" in found:
        found["calibrated"] = {name: found["calibrated"][name] for name in PROBABILITY_FIGURES}
    return {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED, **found}


def bootstrap_intervals(
    scorers: Mapping[str, tuple[np.ndarray, float]], losses: Mapping[str, np.ndarray], label: np.ndarray
) -> dict[str, Interval | dict[str, Interval]]:
    """The interval of every figure of every scorer, and of every loss.

    Args:
        scorers: by name the score, high for fake, (N,), and the threshold above which it says fake.
        losses: by name each article's loss, (N,), whose mean is the figure.
        label: 1 = fake, (N,).
    Returns:
        For a loss (low, high), for a scorer the same by figure. A ranking figure is undefined in a resample without one
        class; its interval is that of the others.
    """
    found: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in scorers}
    means: dict[str, list[np.ndarray]] = {name: [] for name in losses}
    figures = {name: ScorerFigures(score, label, threshold) for name, (score, threshold) in scorers.items()}
    for counts in resamples(len(label)):
        for name, scorer in figures.items():
            for figure, values in scorer.of(counts).items():
                found[name].setdefault(figure, []).append(values)
        for name, loss in losses.items():
            means[name].append(counts @ loss.astype(np.float64) / len(label))
    intervals: dict[str, Interval | dict[str, Interval]] = {n: interval(np.concatenate(v)) for n, v in means.items()}
    for name, values in found.items():
        intervals[name] = {figure: interval(np.concatenate(parts)) for figure, parts in values.items()}
    return intervals


def resamples(articles: int) -> Iterator[np.ndarray]:
    """How often each article is in each of RESAMPLES resamples, (R, N) int64, a part of them at a time."""
    random = np.random.default_rng(SEED)
    at_once = max(1, CHUNK_NUMBERS // max(articles, 1))
    for start in range(0, RESAMPLES, at_once):
        drawn = [random.integers(articles, size=articles) for _ in range(min(at_once, RESAMPLES - start))]
        yield np.stack([np.bincount(draw, minlength=articles) for draw in drawn])


def interval(values: np.ndarray) -> Interval:
    """The middle LEVEL of the values that are defined."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


class ScorerFigures:
    """The figures of `scores.scorer_figures` for articles that are each counted several times.

    Args:
        score: in [0, 1], high for fake, (N,).
        label: 1 = fake, (N,).
        threshold: a score above it says fake.
    """

    def __init__(self, score: np.ndarray, label: np.ndarray, threshold: float) -> None:
        self._score, self._fake = score.astype(np.float64), (label == 1).astype(np.int64)
        called = score > threshold
        kinds = np.stack([called & (label == 1), called & (label != 1), ~called & (label == 1), ~called & (label != 1)])
        self._kinds = kinds.T.astype(np.int64)  # (N, 4): true and false positives, false and true negatives
        # Torch's edges, as torchmetrics takes them: numpy's differ in a last bit, and scores lie on edges.
        edges = torch.linspace(0, 1, CALIBRATION_BINS + 1)
        self._bins = torch.bucketize(torch.from_numpy(score.astype(np.float32)), edges, right=True).numpy() - 1
        self._order = np.argsort(score, kind="stable")
        ascending = score[self._order]
        self._groups = np.concatenate([[0], np.flatnonzero(np.diff(ascending) > 0) + 1])  # where each score begins

    def of(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Each figure for each resample, (R,); counts (R, N)."""
        if not np.isfinite(self._score).all():
            return {}
        return {**self._verdicts(counts), **self._ranking(counts), **self._probabilities(counts)}

    def _verdicts(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        found, false, missed, passed = (counts @ self._kinds).T  # (R,) each
        f1, f1_real = _share(2 * found, 2 * found + false + missed), _share(2 * passed, 2 * passed + false + missed)
        # A class that is neither there nor called does not enter the mean, as in torchmetrics.
        classes = (found + false + missed > 0).astype(int) + (passed + false + missed > 0)
        return {
            "accuracy": (found + passed) / counts.sum(axis=1),
            "precision": _share(found, found + false),
            "recall": _share(found, found + missed),
            "f1": f1,
            "f1_macro": (f1 + f1_real) / classes,
        }

    def _ranking(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        ordered = counts[:, self._order]
        fake = ordered * self._fake[self._order]
        of_score = np.add.reduceat(ordered, self._groups, axis=1)  # (R, S): articles of each score, ascending
        fake_of = np.add.reduceat(fake, self._groups, axis=1)  # (R, S)
        real_of = of_score - fake_of
        fakes, reals = fake_of.sum(axis=1), real_of.sum(axis=1)  # (R,)
        lower = real_of.cumsum(axis=1) - real_of  # reals below each score
        both = (fakes > 0) & (reals > 0)
        pairs = np.where(both, fakes * reals, 1)
        auroc = (fake_of * (lower + real_of / 2)).sum(axis=1) / pairs
        above, fake_above = (values[:, ::-1].cumsum(axis=1)[:, ::-1] for values in (of_score, fake_of))
        precision = fake_above / np.maximum(above, 1)
        average = (fake_of * precision).sum(axis=1) / np.maximum(fakes, 1)
        return {"auroc": np.where(both, auroc, np.nan), "average_precision": np.where(both, average, np.nan)}

    def _probabilities(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        articles = counts.sum(axis=1)  # (R,)
        brier = counts @ (self._score - self._fake) ** 2 / articles
        ece = np.zeros(len(counts))
        for number in np.unique(self._bins):
            inside = self._bins == number
            ece += np.abs(counts[:, inside] @ (self._score - self._fake)[inside])
        return {"brier": brier, "ece": ece / articles}


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)  # 0 of nothing is 0, as in torchmetrics
