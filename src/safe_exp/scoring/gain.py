"""The gain of one epoch over another in a figure of validation, with its interval over the choice of the articles."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from safe_exp.config import LossSettings
from safe_exp.config.figure_names import SIMILARITY_PREFIX
from safe_exp.config.threshold import THRESHOLD
from safe_exp.scoring.intervals import Interval, ScorerFigures, article_losses, interval, resamples
from safe_exp.scoring.scores import ScoredSplit, ScorerName, scorer_scores


class Gain(NamedTuple):
    """An improvement, above 0 where the later epoch is the better one."""

    value: float
    interval: Interval  # the middle 95 % of its values over resamples of the articles; None: undefined in all of them

    @property
    def is_sure(self) -> bool:
        """True where the whole interval lies above 0."""
        return self.interval is not None and self.interval[0] > 0


def measure_gain(first: ScoredSplit, later: ScoredSplit, figure: str, mode: str, loss: LossSettings) -> Gain:
    """Compare two epochs on the same N articles, and on the same resamples of them (a paired bootstrap).

    Args:
        first, later: the articles' scores after the two epochs.
        figure: a figure of validation by its logged name, without `val/`.
        mode: its better side, min or max.
        loss: α, β and the kind of L_s.
    Example:
        >>> import torch
        >>> def scored(probability):
        ...     p = torch.tensor(probability)
        ...     logits = torch.stack([p, 1 - p], dim=1).log()
        ...     return ScoredSplit(torch.arange(2), torch.tensor([1, 1]), logits, p, similarity=None)
        >>> loss = {"alpha": 1.0, "beta": 0.0, "similarity_loss": "real_only"}
        >>> gain = measure_gain(scored([0.5, 0.5]), scored([0.5, 1.0]), "loss_prediction", "min", loss)
        >>> round(gain.value, 4), [round(end, 4) for end in gain.interval]  # ln 2 on one of two articles
        (0.3466, [0.0, 0.6931])
        >>> gain.is_sure
        False
    """
    before, after = (_figure(scored, figure, loss) for scored in (first, later))
    worse, better = (before, after) if mode == "max" else (after, before)

    def gain(counts: np.ndarray) -> np.ndarray:
        """Compute the gain in each resample, (R,), from counts (R, N)."""
        return np.asarray(better(counts) - worse(counts))

    value = gain(np.ones((1, len(first.label))))[0]
    return Gain(float(value), interval(np.concatenate([gain(counts) for counts in resamples(len(first.label))])))


def _figure(scored: ScoredSplit, name: str, loss: LossSettings) -> Callable[[np.ndarray], np.ndarray]:
    """Build the function from counts (R, N) to the figure in each resample, (R,); NaN where it is undefined."""
    losses, label = article_losses(scored, loss), scored.label.numpy()
    if name in losses:
        return lambda counts: counts @ losses[name] / counts.sum(axis=1)
    if scored.similarity is not None and name in ("similarity_real", "similarity_fake"):
        of_class = (label == (name == "similarity_fake")).astype(np.float64)
        similarity = scored.similarity.double().numpy() * of_class

        def mean(counts: np.ndarray) -> np.ndarray:
            """Compute the class's mean similarity in each resample."""
            with np.errstate(invalid="ignore"):  # a resample without the class
                return np.asarray(counts @ similarity / (counts @ of_class))

        return mean
    scorer: ScorerName = "similarity" if name.startswith(SIMILARITY_PREFIX) else "prediction"
    figures = ScorerFigures(scorer_scores(scored)[scorer].numpy(), label, THRESHOLD)
    key = name.removeprefix(SIMILARITY_PREFIX)
    return lambda counts: np.asarray(figures.compute(counts).get(key, np.full(len(counts), np.nan)))
