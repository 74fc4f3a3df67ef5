"""Scores of a whole split, and the figures of metrics.json that are computed from them."""

from __future__ import annotations

import math

import torch
import torchmetrics
from torch import Tensor
from torchmetrics.functional import classification, mean_squared_error

from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeOutput, safe_loss

THRESHOLD = 0.5  # a score above it is the verdict "fake"
CALIBRATION_BINS = 15

VERDICT_FIGURES = ("accuracy", "precision", "recall", "f1", "f1_macro")  # of the verdicts at THRESHOLD
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


def split_figures(columns: dict[str, Tensor | None], alpha: float, beta: float, similarity_loss: str) -> dict:
    """What metrics.json says of a split: its losses, and for each scorer the figures named in FIGURES.

    Args:
        columns: what `SplitScores.columns` returned.
        alpha, beta, similarity_loss: of the loss that was trained.
    Returns:
        {"loss", "loss_prediction", "loss_similarity": float, "prediction": {...}, "similarity": {...}}; a variant that
        compares nothing has no "similarity".
    """
    label = columns["label"]
    output = SafeOutput(None, None, columns["logits"], columns["probability"], columns["similarity"])
    losses = safe_loss(output, label, alpha=alpha, beta=beta, similarity_loss=similarity_loss)
    figures = {
        "loss": losses.total.item(),
        "loss_prediction": losses.prediction.item(),
        "loss_similarity": losses.similarity.item(),
        "prediction": scorer_figures(columns["probability"], label),
    }
    if columns["similarity"] is not None:
        figures["similarity"] = scorer_figures(1 - columns["similarity"], label)  # unlike text and image speak for fake
    return figures


def scorer_figures(score: Tensor, label: Tensor) -> dict[str, float]:
    """Every figure of one scorer, fake being the positive class.

    Args:
        score: in [0, 1], high for fake, (N,).
        label: 1 = fake, 0 = real, (N,).
    Returns:
        The figures of FIGURES; NaN for a ranking figure when one class is absent, and for all when a score is NaN.
    """
    if not torch.isfinite(score).all():
        return dict.fromkeys(FIGURES, math.nan)
    label = label.long()
    one_class = bool((label == label[0]).all())
    verdict = (score > THRESHOLD).long()
    values = {
        "accuracy": classification.binary_accuracy(score, label, THRESHOLD),
        "precision": classification.binary_precision(score, label, THRESHOLD),
        "recall": classification.binary_recall(score, label, THRESHOLD),
        "f1": classification.binary_f1_score(score, label, THRESHOLD),
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
