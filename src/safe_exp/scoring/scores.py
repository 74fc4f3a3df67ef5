"""Scores of a whole split, and the figures of metrics.json computed from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict

import torch
import torch.nn.functional as F
import torchmetrics
from torch import Tensor
from torchmetrics.functional import classification, mean_squared_error

from safe_exp.config import LossSettings
from safe_exp.config.threshold import BEST, THRESHOLD
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeOutput, safe_loss
from safe_exp.equations.safe import map_tensors
from safe_exp.scoring.calibration import Calibration, fit_calibration

CALIBRATION_BINS = 15

VERDICT_FIGURES = ("accuracy", "precision", "recall", "f1", "f1_macro")  # of the verdicts at a threshold
RANKING_FIGURES = ("auroc", "average_precision")  # of the scores; undefined when one class is absent
PROBABILITY_FIGURES = ("brier", "ece")  # of the scores, read as probabilities
FIGURES = VERDICT_FIGURES + RANKING_FIGURES + PROBABILITY_FIGURES

ScorerName: TypeAlias = Literal["prediction", "similarity", "combined"]


class ScoredSplit(NamedTuple):
    """The network's output for the N articles of a split, on the CPU, in the order of `rows`.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[4.0, 1.0], [1.0, 4.0]]).log()
        >>> rows, label, probability = torch.arange(2), torch.tensor([1, 0]), torch.tensor([0.8, 0.2])
        >>> scored = ScoredSplit(rows, label, logits, probability, similarity=None)
        >>> [round(logit, 4) for logit in scored.logit.tolist()]  # ln 4, -ln 4
        [1.3863, -1.3863]
    """

    rows: Tensor  # (N,) int64, rows of the articles in the data module
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
    """The rule from scores to verdicts: the calibration that was fitted on validation, and the threshold."""

    calibration: Calibration | None = None  # None: nothing was fitted
    threshold: float | str = THRESHOLD  # a score above it is the verdict "fake"; `best`: each scorer's own


AS_TRAINED = Judgement()  # scores as they are, cut at 0.5


class ClassBalance(TypedDict):
    """The articles of each class, and the larger class's share of all."""

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
    """The network's output for every article of a split, gathered from all batches and all processes.

    Figures are computed once from the whole split: a mean of batch figures is another number.
    """

    full_state_update = False
    rows: list[Tensor]  # (B,) of each batch; likewise the others, as in ScoredSplit
    label: list[Tensor]
    logits: list[Tensor]
    probability: list[Tensor]
    similarity: list[Tensor]  # empty for a variant that compares nothing

    def __init__(self) -> None:
        super().__init__()
        for name in ScoredSplit._fields:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, batch: NewsBatch, output: SafeOutput) -> None:
        """Add the output for a batch: logits (B, 2), probability (B,), similarity (B,) or None."""
        self.rows.append(batch.index)
        self.label.append(batch.label)
        self.logits.append(output.logits.float())
        self.probability.append(output.probability)
        if output.similarity is not None:
            self.similarity.append(output.similarity)

    def scored(self) -> ScoredSplit:
        """The split as gathered so far."""
        # torchmetrics makes a scalar of whatever `compute` returns with one element: a split of one article.
        return map_tensors(torch.atleast_1d, self.compute())

    def compute(self) -> ScoredSplit:
        """Join and sort the columns; torchmetrics calls it when it has gathered the states of all processes."""
        rows = _join(self.rows)
        gathered = ScoredSplit(
            rows,
            _join(self.label),
            _join(self.logits),
            _join(self.probability),
            _join(self.similarity) if len(self.similarity) else None,
        )
        order = rows.argsort()
        return map_tensors(lambda column: column[order], gathered)


def split_figures(scored: ScoredSplit, loss: LossSettings, judgement: Judgement = AS_TRAINED) -> SplitFigures:
    """Compute a split's losses, class counts, thresholds and, for each scorer, the figures named in FIGURES.

    Args:
        scored: the split, of one article or more.
        loss: α, β and the kind of L_s that were trained.
        judgement: the threshold of the verdicts. With a calibration there are also the scorer `combined`, where the
            variant has two scorers, and the figures `calibrated`.
    Example:
        >>> import torch
        >>> logits = torch.tensor([[4.0, 1.0], [1.0, 4.0]]).log()  # ŷ = 0.8 and 0.2
        >>> rows, label, probability = torch.arange(2), torch.tensor([1, 0]), torch.tensor([0.8, 0.2])
        >>> scored = ScoredSplit(rows, label, logits, probability, similarity=None)
        >>> figures = split_figures(scored, {"alpha": 2.0, "beta": 0.0, "similarity_loss": "real_only"})
        >>> round(figures["loss_prediction"], 4), round(figures["loss"], 4)  # -ln 0.8, twice that
        (0.2231, 0.4463)
        >>> figures["thresholds"], figures["prediction"]["accuracy"]
        ({'prediction': 0.5}, 1.0)
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
    }
    for name, score in scorers.items():
        figures[name] = scorer_figures(score, label, thresholds[name])
    if judgement.calibration is not None:
        figures["calibrated"] = _calibrated_figures(scored, judgement.calibration)
    return figures


def class_balance(label: Tensor) -> ClassBalance:
    """Count the articles of each class; a constant verdict has an accuracy of `majority_rate`.

    Args:
        label: 1 = fake, (N,), N >= 1.
    Example:
        >>> import torch
        >>> class_balance(torch.tensor([1, 0, 0, 0]))
        {'fake': 1, 'real': 3, 'majority_rate': 0.75}
    """
    fake, count = int(label.sum()), len(label)
    return {"fake": fake, "real": count - fake, "majority_rate": max(fake, count - fake) / count}


def scorer_scores(scored: ScoredSplit, calibration: Calibration | None = None) -> dict[ScorerName, Tensor]:
    """Score each article by each scorer that there is.

    Args:
        scored: the split, N articles.
        calibration: its combination gives the scorer `combined`.
    Returns:
        By scorer the scores, in [0, 1] and high for fake, (N,).
    Example:
        >>> import torch
        >>> half, similarity = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 1.0])
        >>> scored = ScoredSplit(torch.arange(2), torch.tensor([1, 0]), torch.zeros(2, 2), half, similarity)
        >>> {name: score.tolist() for name, score in scorer_scores(scored).items()}
        {'prediction': [0.5, 0.5], 'similarity': [0.75, 0.0]}
    """
    scores: dict[ScorerName, Tensor] = {"prediction": scored.probability}
    if scored.similarity is not None:
        scores["similarity"] = 1 - scored.similarity  # unlike text and image speak for fake
        if calibration is not None and calibration.combination is not None:
            combined = calibration.combination.score(scored.logit.numpy(), scored.similarity.double().numpy())
            scores["combined"] = torch.from_numpy(combined).to(scored.probability.dtype)
    return scores


def scorer_thresholds(scorers: Iterable[str], judgement: Judgement) -> dict[str, float]:
    """Choose each scorer's threshold; 0.5 where `best` was asked for and validation gave none.

    Example:
        >>> scorer_thresholds(["prediction", "similarity"], Judgement(threshold=0.4))
        {'prediction': 0.4, 'similarity': 0.4}
    """
    if judgement.threshold != BEST:
        return dict.fromkeys(scorers, float(judgement.threshold))
    found = {} if judgement.calibration is None else judgement.calibration.thresholds
    return {name: found.get(name, THRESHOLD) for name in scorers}


def calibrate(validated: ScoredSplit, combines: bool) -> Calibration | None:
    """Fit a calibration on the validation split, as `fit_calibration` does; None where nothing can be fitted.

    Args:
        validated: the validation split.
        combines: M_p and M_s are two scorers, which can be joined.
    """
    similarity = validated.similarity
    return fit_calibration(
        validated.logit.numpy(),
        None if similarity is None else similarity.double().numpy(),
        validated.label.numpy(),
        combines,
    )


def _calibrated_figures(scored: ScoredSplit, calibration: Calibration) -> dict[str, float]:
    """Compute T and the figures that it changes: the prediction loss and the figures of the probability."""
    scaled = scored.logit / calibration.temperature
    figures = scorer_figures(scaled.sigmoid().float(), scored.label)
    loss = F.binary_cross_entropy_with_logits(scaled, scored.label.double()).item()
    return {
        "temperature": calibration.temperature,
        "loss_prediction": loss,
        **{name: figures[name] for name in PROBABILITY_FIGURES},
    }


def scorer_figures(score: Tensor, label: Tensor, threshold: float = THRESHOLD) -> dict[str, float]:
    """Compute every figure of one scorer; fake is the positive class.

    Args:
        score: in [0, 1], high for fake, (N,).
        label: 1 = fake, 0 = real, (N,).
        threshold: a score above it is the verdict "fake".
    Returns:
        The figures of FIGURES; NaN for a ranking figure when one class is absent, and for all when a score is not
        finite.
    Example:
        >>> import torch
        >>> figures = scorer_figures(score=torch.tensor([0.9, 0.6, 0.4, 0.1]), label=torch.tensor([1, 0, 1, 0]))
        >>> figures["accuracy"], figures["precision"], figures["recall"]  # called fake: 0.9 and 0.6
        (0.5, 0.5, 0.5)
        >>> figures["auroc"]  # in 3 of 4 pairs the fake article has the higher score
        0.75
        >>> round(figures["average_precision"], 4), round(figures["brier"], 4)  # (1 + 2/3) / 2, (0.01 + 0.36) / 2
        (0.8333, 0.185)
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


def _join(parts: list[Tensor] | Tensor) -> Tensor:
    """Join the parts of a column, each (B, …), to (N, …), on the CPU."""
    if isinstance(parts, Tensor):  # torchmetrics has already joined the parts of several processes
        return parts.cpu()
    return torch.cat(parts).cpu()
