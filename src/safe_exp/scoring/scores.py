"""Scores of a whole split, and the figures of metrics.json that are computed from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, TypedDict

import torch
import torch.nn.functional as F
import torchmetrics
from torch import Tensor
from torchmetrics.functional import classification, mean_squared_error

from safe_exp.config import LossSettings
from safe_exp.config.figure_names import BEST, THRESHOLD
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeOutput, safe_loss
from safe_exp.scoring.calibration import Calibration, fit_calibration

CALIBRATION_BINS = 15

VERDICT_FIGURES = ("accuracy", "precision", "recall", "f1", "f1_macro")  # of the verdicts at a threshold
RANKING_FIGURES = ("auroc", "average_precision")  # of the scores; undefined when one class is absent
PROBABILITY_FIGURES = ("brier", "ece")  # of the scores, read as probabilities
FIGURES = VERDICT_FIGURES + RANKING_FIGURES + PROBABILITY_FIGURES


class ScoredSplit(NamedTuple):
    """The network's output for the N articles of a split, on the CPU, in the order of `index`."""

    index: Tensor  # (N,) int64, rows of the articles in the data module
    label: Tensor  # (N,) int64, 1 = fake
    logits: Tensor  # (N, 2) float32, entry 0 = fake
    probability: Tensor  # (N,) of fake
    similarity: Tensor | None  # (N,) M_s; None for a variant that compares nothing

    @property
    def logit(self) -> Tensor:
        """ln ŷ/(1-ŷ), (N,) float64."""
        logits = self.logits.double()
        return logits[:, 0] - logits[:, 1]


class Judgement(NamedTuple):
    """How scores become verdicts: the calibration that was fitted on validation, and the threshold."""

    calibration: Calibration | None = None  # None: nothing was fitted
    threshold: float | str = THRESHOLD  # a score above it is the verdict "fake"; `best`: each scorer's own


AS_TRAINED = Judgement()  # scores as they are, cut at 0.5


class ClassBalance(TypedDict):
    fake: int
    real: int
    majority_rate: float


class SplitFigures(TypedDict, total=False):
    """A split's part of metrics.json. The scorers `similarity` and `combined` are there where the variant has them."""

    loss: float
    loss_prediction: float
    loss_similarity: float
    articles: ClassBalance
    thresholds: dict[str, float]  # by scorer
    prediction: dict[str, float]  # by figure
    similarity: dict[str, float]
    combined: dict[str, float]
    calibrated: dict[str, float]
    intervals: dict[str, Any]  # in the same shape, each figure as (low, high)


class SplitScores(torchmetrics.Metric):
    """Gathers the network's output for every article of a split from all batches and all processes.

    Figures are computed once from the whole split: a mean of batch figures is another number.
    """

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        for name in ScoredSplit._fields:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, batch: NewsBatch, output: SafeOutput) -> None:
        self.index.append(batch.index)
        self.label.append(batch.label)
        self.logits.append(output.logits.float())
        self.probability.append(output.probability)
        if output.similarity is not None:
            self.similarity.append(output.similarity)

    def scored(self) -> ScoredSplit:
        """The split as gathered so far."""
        # torchmetrics makes a scalar of whatever `compute` returns with one element: a split of one article.
        return ScoredSplit(*(None if column is None else torch.atleast_1d(column) for column in self.compute()))

    def compute(self) -> ScoredSplit:
        """`scored`, but for splits of one article; torchmetrics calls it when it has gathered all processes' states."""
        columns = [_joined(getattr(self, name)) for name in ScoredSplit._fields]
        order = columns[0].argsort()
        return ScoredSplit(*(None if column is None else column[order] for column in columns))


def split_figures(scored: ScoredSplit, loss: LossSettings, judgement: Judgement = AS_TRAINED) -> SplitFigures:
    """Compute a split's losses, class counts, thresholds and, for each scorer, the figures named in FIGURES.

    Args:
        scored: the split, of one article or more.
        loss: of the loss that was trained.
        judgement: where verdicts are cut; with a calibration there are the scorer `combined` (where the variant has two
            scorers) and the figures `calibrated` as well.
    """
    label = scored.label
    output = SafeOutput(None, None, scored.logits, scored.probability, scored.similarity)
    losses = safe_loss(output, label, **loss)
    scorers = scorer_scores(scored, judgement.calibration)
    thresholds = scorer_thresholds(scorers, judgement)
    figures: SplitFigures = {
        "loss": losses.total.item(),
        "loss_prediction": losses.prediction.item(),
        "loss_similarity": losses.similarity.item(),
        "articles": class_balance(label),
        "thresholds": thresholds,
        **{name: scorer_figures(score, label, thresholds[name]) for name, score in scorers.items()},
    }
    if judgement.calibration is not None:
        figures["calibrated"] = calibrated_figures(scored, judgement.calibration)
    return figures


def class_balance(label: Tensor) -> ClassBalance:
    """Count the articles of each class; a constant verdict has an accuracy of `majority_rate`.

    Args:
        label: 1 = fake, (N,), N >= 1.
    """
    fake, count = int(label.sum()), len(label)
    return {"fake": fake, "real": count - fake, "majority_rate": max(fake, count - fake) / count}


def scorer_scores(scored: ScoredSplit, calibration: Calibration | None = None) -> dict[str, Tensor]:
    """Score each article by each scorer (prediction, similarity, combined), in [0, 1] and high for fake, (N,)."""
    scores = {"prediction": scored.probability}
    if scored.similarity is not None:
        scores["similarity"] = 1 - scored.similarity  # unlike text and image speak for fake
        if calibration is not None and calibration.combination is not None:
            combined = calibration.combination.score(scored.logit.numpy(), scored.similarity.double().numpy())
            scores["combined"] = torch.from_numpy(combined).to(scored.probability.dtype)
    return scores


def scorer_thresholds(scorers: Iterable[str], judgement: Judgement) -> dict[str, float]:
    """Choose each scorer's threshold; 0.5 where the best was asked for and validation could not tell it."""
    if judgement.threshold != BEST:
        return dict.fromkeys(scorers, float(judgement.threshold))
    found = {} if judgement.calibration is None else judgement.calibration.thresholds
    return {name: found.get(name, THRESHOLD) for name in scorers}


def calibrate(validated: ScoredSplit, combines: bool) -> Calibration | None:
    """Fit a calibration on the validation split; see `fit_calibration`."""
    similarity = validated.similarity
    return fit_calibration(
        validated.logit.numpy(),
        None if similarity is None else similarity.double().numpy(),
        validated.label.numpy(),
        combines,
    )


def calibrated_figures(scored: ScoredSplit, calibration: Calibration) -> dict[str, float]:
    """Compute what the temperature changes: T itself, the prediction loss, and the figures of the probability."""
    scaled = scored.logit / calibration.temperature
    figures = scorer_figures(scaled.sigmoid().float(), scored.label)
    loss = F.binary_cross_entropy_with_logits(scaled, scored.label.double()).item()
    return {
        "temperature": calibration.temperature,
        "loss_prediction": loss,
        **{name: figures[name] for name in PROBABILITY_FIGURES},
    }


def scorer_figures(score: Tensor, label: Tensor, threshold: float = THRESHOLD) -> dict[str, float]:
    """Every figure of one scorer, fake being the positive class.

    Args:
        score: in [0, 1], high for fake, (N,).
        label: 1 = fake, 0 = real, (N,).
        threshold: a score above it is the verdict "fake".
    Returns:
        The figures of FIGURES; NaN for a ranking figure when one class is absent, and for all when a score is NaN.
    """
    if not torch.isfinite(score).all():
        return dict.fromkeys(FIGURES, math.nan)
    label = label.long()
    one_class = bool((label == label[0]).all())
    verdict = (score > threshold).long()
    values = {
        "accuracy": classification.binary_accuracy(verdict, label),
        "precision": classification.binary_precision(verdict, label),
        "recall": classification.binary_recall(verdict, label),
        "f1": classification.binary_f1_score(verdict, label),
        "f1_macro": classification.multiclass_f1_score(verdict, label, num_classes=2, average="macro"),
        "auroc": math.nan if one_class else classification.binary_auroc(score, label),
        "average_precision": math.nan if one_class else classification.binary_average_precision(score, label),
        "brier": mean_squared_error(score, label.to(score.dtype)),
        "ece": classification.binary_calibration_error(score, label, n_bins=CALIBRATION_BINS, norm="l1"),
    }
    return {name: float(value) for name, value in values.items()}


def _joined(parts: list[Tensor] | Tensor) -> Tensor | None:
    if isinstance(parts, Tensor):  # torchmetrics has already joined what came from several processes
        return parts.cpu()
    return torch.cat(parts).cpu() if parts else None
