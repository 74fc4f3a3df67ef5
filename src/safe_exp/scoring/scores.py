"""Scores of a whole split, and the figures of metrics.json that are computed from them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
import torchmetrics
from torch import Tensor
from torchmetrics.functional import classification, mean_squared_error

from safe_exp.config.figure_names import BEST, THRESHOLD
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeOutput, safe_loss
from safe_exp.scoring.calibration import Calibration, fit_calibration

CALIBRATION_BINS = 15

VERDICT_FIGURES = ("accuracy", "precision", "recall", "f1", "f1_macro")  # of the verdicts at a threshold
RANKING_FIGURES = ("auroc", "average_precision")  # of the scores; undefined when one class is absent
PROBABILITY_FIGURES = ("brier", "ece")  # of the scores, read as probabilities
FIGURES = VERDICT_FIGURES + RANKING_FIGURES + PROBABILITY_FIGURES


class SplitScores(torchmetrics.Metric):
    """The network's output for every article of a split, gathered from all batches and all processes.

    Figures are computed once from the whole split: a mean of batch figures is another number.
    """

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        for name in ("index", "label", "logits", "probability", "similarity"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, batch: NewsBatch, output: SafeOutput) -> None:
        self.index.append(batch.index)
        self.label.append(batch.label)
        self.logits.append(output.logits.float())
        self.probability.append(output.probability)
        if output.similarity is not None:
            self.similarity.append(output.similarity)

    def columns(self) -> dict[str, Tensor | None]:
        """Columns of equal length on the CPU, in the order of `index`; `similarity` may be None."""
        # torchmetrics makes a scalar of whatever `compute` returns with one element: a split of one article.
        return {name: None if column is None else torch.atleast_1d(column) for name, column in self.compute().items()}

    def compute(self) -> dict[str, Tensor | None]:
        """What `columns` returns; called by torchmetrics, which gathers the states of all processes first."""
        columns = {
            name: _joined(getattr(self, name)) for name in ("index", "label", "logits", "probability", "similarity")
        }
        order = columns["index"].argsort()
        return {name: None if column is None else column[order] for name, column in columns.items()}


def split_figures(
    columns: dict[str, Tensor | None],
    alpha: float,
    beta: float,
    similarity_loss: str,
    calibration: Calibration | None = None,
    threshold: float | str = THRESHOLD,
) -> dict:
    """What metrics.json says of a split: its losses and classes, and for each scorer the figures named in FIGURES.

    Args:
        columns: what `SplitScores.columns` returned.
        alpha, beta, similarity_loss: of the loss that was trained.
        calibration: what was fitted on validation, where it was.
        threshold: above which a score says fake, or `best`: each scorer's own, from validation.
    Returns:
        {"loss", "loss_prediction", "loss_similarity": float, "articles": {...}, "thresholds": {scorer: float},
        "prediction": {...}, "similarity": {...}, "combined": {...}, "calibrated": {...}}; a variant that compares
        nothing has no "similarity", and without a calibration there is neither of the last two.
    """
    label = columns["label"]
    output = SafeOutput(None, None, columns["logits"], columns["probability"], columns["similarity"])
    losses = safe_loss(output, label, alpha=alpha, beta=beta, similarity_loss=similarity_loss)
    scorers = scorers_of(columns, calibration)
    thresholds = thresholds_of(scorers, calibration, threshold)
    figures = {
        "loss": losses.total.item(),
        "loss_prediction": losses.prediction.item(),
        "loss_similarity": losses.similarity.item(),
        "articles": class_balance(label),
        "thresholds": thresholds,
        **{name: scorer_figures(score, label, thresholds[name]) for name, score in scorers.items()},
    }
    if calibration is not None:
        figures["calibrated"] = calibrated_figures(columns, calibration)
    return figures


def class_balance(label: Tensor) -> dict[str, float]:
    """How many articles are of each class; a constant verdict has an accuracy of `majority_rate`.

    Args:
        label: 1 = fake, (N,).
    """
    fake, count = int(label.sum()), len(label)
    return {"fake": fake, "real": count - fake, "majority_rate": max(fake, count - fake) / count}


def scorers_of(columns: Mapping[str, Tensor | None], calibration: Calibration | None = None) -> dict[str, Tensor]:
    """The scores of each scorer, in [0, 1] and high for fake, (N,): prediction, similarity, combined."""
    scorers = {"prediction": columns["probability"]}
    if columns["similarity"] is not None:
        scorers["similarity"] = 1 - columns["similarity"]  # unlike text and image speak for fake
        if calibration is not None and calibration.combination is not None:
            combined = calibration.combination.score(logit_of(columns).numpy(), columns["similarity"].double().numpy())
            scorers["combined"] = torch.from_numpy(combined).to(columns["probability"].dtype)
    return scorers


def thresholds_of(
    scorers: Mapping[str, Tensor], calibration: Calibration | None, threshold: float | str
) -> dict[str, float]:
    """The threshold of each scorer; 0.5 where the best was asked for and validation could not tell it."""
    if threshold != BEST:
        return dict.fromkeys(scorers, float(threshold))
    found = {} if calibration is None else calibration.thresholds
    return {name: found.get(name, THRESHOLD) for name in scorers}


def logit_of(columns: Mapping[str, Tensor | None]) -> Tensor:
    """ln ŷ/(1-ŷ), (N,) float64."""
    logits = columns["logits"].double()
    return logits[:, 0] - logits[:, 1]


def calibrate(columns: Mapping[str, Tensor | None], combines: bool) -> Calibration | None:
    """`fit_calibration` on the columns of the validation split."""
    similarity = columns["similarity"]
    return fit_calibration(
        logit_of(columns).numpy(),
        None if similarity is None else similarity.double().numpy(),
        columns["label"].numpy(),
        combines,
    )


def calibrated_figures(columns: Mapping[str, Tensor | None], calibration: Calibration) -> dict[str, float]:
    """What the temperature makes of the probability: T, and the figures that it can change."""
    scaled = logit_of(columns) / calibration.temperature
    label = columns["label"].double()
    figures = scorer_figures(scaled.sigmoid().float(), columns["label"])
    loss = F.binary_cross_entropy_with_logits(scaled, label).item()
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
