"""Scores of a whole split in R runs, and the figures that an epoch logs, of all runs at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from safe_exp.config.figure_names import SIMILARITY_PREFIX
from safe_exp.equations.loss import prediction_loss, similarity_loss_forward
from safe_exp.scoring.intervals import calibration_bins, verdict_figures
from safe_exp.scoring.scores import FIGURES, ScoredSplit


class ScoredRuns(NamedTuple):
    """The output of R networks for the N articles of a split, on the CPU, in the order of `rows`."""

    rows: Tensor  # (N,) int64, rows of the articles in the data module
    label: Tensor  # (N,) int64, 1 = fake
    logits: Tensor  # (R, N, 2) float32, entry 0 = fake
    probability: Tensor  # (R, N) of fake
    similarity: Tensor | None  # (R, N) M_s; None for a variant that compares nothing

    def of_run(self, run: int) -> ScoredSplit:
        """Return the scores of one run, which share the memory of all."""
        similarity = None if self.similarity is None else self.similarity[run]
        return ScoredSplit(self.rows, self.label, self.logits[run], self.probability[run], similarity)

    def logged(self, split: str, alpha: Tensor, beta: Tensor, similarity_loss: str) -> list[dict[str, float]]:
        """Compute what `logged_figures` gives for the `split_figures` of each run, at a threshold of 0.5.

        A stack computes them in every epoch; for one run after the other they would take as long as its training.

        Args:
            split: its name, which each logged name begins with.
            alpha, beta: of each run, (R,).
            similarity_loss: the kind of L_s.
        """
        runs, articles = self.probability.shape
        of_articles = prediction_loss(self.logits.flatten(0, 1), self.label.repeat(runs)).view(runs, articles)
        loss_prediction = of_articles.mean(dim=1)  # (R,)
        loss_similarity = torch.zeros_like(loss_prediction)
        scores = {"": self.probability}
        if self.similarity is not None:
            of_articles = similarity_loss_forward(self.similarity, self.label.expand(runs, -1), similarity_loss)
            loss_similarity = of_articles.mean(dim=1).to(loss_prediction)
            scores[SIMILARITY_PREFIX] = 1 - self.similarity
        alpha, beta = alpha.to(loss_prediction), beta.to(loss_prediction)
        figures: dict[str, Tensor | np.ndarray] = {
            "loss": alpha * loss_prediction + beta * loss_similarity,
            "loss_prediction": loss_prediction,
            "loss_similarity": loss_similarity,
        }
        for prefix, score in scores.items():
            found = scorer_figures_of_runs(score.numpy(), self.label.numpy())
            figures |= {f"{prefix}{name}": values for name, values in found.items()}
        if self.similarity is not None:
            for name, label in (("real", 0), ("fake", 1)):
                figures[f"similarity_{name}"] = self.similarity[:, self.label == label].mean(dim=1)
        names = [f"{split}/{name}" for name in figures]
        table = np.stack([np.asarray(values, np.float64) for values in figures.values()], axis=1)  # (R, figures)
        return [dict(zip(names, row, strict=True)) for row in table.tolist()]


def scorer_figures_of_runs(score: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the figures of `scores.scorer_figures` in every run, (R,) float64 each, at a threshold of 0.5.

    Args:
        score: in [0, 1], high for fake, (R, N).
        label: 1 = fake, (N,).
    Example:
        >>> import numpy as np
        >>> found = scorer_figures_of_runs(np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([1, 0]))
        >>> found["accuracy"].tolist(), found["auroc"].tolist()
        ([1.0, 0.0], [1.0, 0.0])
    """
    finite = np.isfinite(score).all(axis=1)  # (R,)
    score = np.where(finite[:, None], score, 0)
    fake, called = label == 1, score > 0.5
    kinds = (called & fake, called & ~fake, ~called & fake, ~called & ~fake)
    excess = score.astype(np.float64) - fake  # (R, N)
    figures = {
        **verdict_figures(*(kind.sum(axis=1).astype(np.float64) for kind in kinds)),
        **_ranking_figures(score, fake),
        "brier": (excess**2).mean(axis=1),
        "ece": _calibration_error(score, excess),
    }
    return {name: np.where(finite, figures[name], np.nan) for name in FIGURES}


def _calibration_error(score: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """Compute the calibration error in each run, (R,), from scores and score - label, (R, N)."""
    runs, articles = score.shape
    bins, number = calibration_bins(score)  # (R, N)
    places = (bins + number * np.arange(runs)[:, None]).ravel()
    sums = np.bincount(places, weights=excess.ravel(), minlength=number * runs).reshape(runs, number)
    found: np.ndarray = np.abs(sums).sum(axis=1) / articles
    return found


def _ranking_figures(score: np.ndarray, fake: np.ndarray) -> dict[str, np.ndarray]:
    """Compute AUROC and average precision in each run, (R,), from scores (R, N) and fake (N,)."""
    runs, articles = score.shape
    fakes = int(fake.sum())
    reals = articles - fakes
    if not fakes or not reals:
        return dict.fromkeys(("auroc", "average_precision"), np.full(runs, np.nan))
    order = np.argsort(-score, axis=1, kind="stable")
    descending = np.take_along_axis(score, order, axis=1)
    ends = np.append(np.diff(descending, axis=1) < 0, np.ones((runs, 1), bool), axis=1)  # the last of each score
    above = np.arange(1.0, articles + 1)  # articles with this score or a higher one, at the end of each score
    fake_above = fake[order].astype(np.float64).cumsum(axis=1)  # (R, N)
    fake_at, count_at = (_steps(np.where(ends, values, 0)) for values in (fake_above, above))  # of each score
    real_at = count_at - fake_at
    outranked = reals - (above - fake_above) + real_at / 2  # reals below each score; of equal ones half
    auroc = np.where(ends, fake_at * outranked, 0).sum(axis=1) / (fakes * reals)
    average = np.where(ends, fake_at * (fake_above / above), 0).sum(axis=1) / fakes
    return {"auroc": auroc, "average_precision": average}


def _steps(values: np.ndarray) -> np.ndarray:
    """Compute by how much each value that is not 0 exceeds the one before it, from rows (R, N) that only rise."""
    before = np.maximum.accumulate(values, axis=1)[:, :-1]
    return values - np.append(np.zeros((len(values), 1)), before, axis=1)
