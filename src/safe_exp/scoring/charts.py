"""Numbers of a run's charts, as tables: for a logger that draws by itself and lays several runs over each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import logit

from safe_exp.scoring.calibration import Calibration
from safe_exp.scoring.curves import drop_straight_points, precision_recall_points, roc_points
from safe_exp.scoring.reliability import reliability

if TYPE_CHECKING:
    from safe_exp.scoring.results import Predictions

POINTS = 500  # of a curve, at most: enough for a screen, and few to send
SIMILARITY_BINS = 40  # over all of [0, 1]: equal in every run, so that runs can be compared
CLASSES = {"fake": 1, "real": 0}  # name → label, in the order of the confusion matrix


class ChartTable(NamedTuple):
    """The numbers of one chart."""

    columns: tuple[str, ...]
    rows: list[list[Any]]  # numbers and names, as JSON holds them


def chart_tables(predictions: Predictions, calibration: Calibration | None) -> dict[str, ChartTable]:
    """Make the tables of a run's charts from the predictions for its N test articles.

    Args:
        predictions: labels, probabilities, similarities and verdicts, (N,) each.
        calibration: fitted on validation; None where there is none, and then no reliability either.
    Returns:
        Tables by name: `roc`, `precision_recall`, `confusion`, `reliability`, `similarity`. A chart that is undefined
        for these articles is left out, such as a ROC curve of one class.
    """
    tables = {"confusion": confusion_table(predictions.label, predictions.verdict)}
    scorers = scorer_values(predictions.probability, predictions.similarity)
    if scorers and len(np.unique(predictions.label)) == len(CLASSES):
        tables["roc"] = roc_table(predictions.label, scorers)
        tables["precision_recall"] = precision_recall_table(predictions.label, scorers)
    if calibration is not None and "prediction" in scorers:
        probability = {
            "as trained": scorers["prediction"],
            "calibrated": calibrated_probability(scorers["prediction"], calibration),
        }
        tables["reliability"] = reliability_table(predictions.label, probability)
    if predictions.similarity is not None and np.isfinite(predictions.similarity).any():
        tables["similarity"] = similarity_table(predictions.label, predictions.similarity)
    return tables


def scorer_values(probability: np.ndarray | None, similarity: np.ndarray | None) -> dict[str, np.ndarray]:
    """Collect the scores of each scorer that gives every article a finite one; higher means fake.

    Args:
        probability: of fake, (N,).
        similarity: M_s, (N,); its scorer is 1 - M_s.
    """
    scorers = {}
    if probability is not None:
        scorers["prediction"] = np.asarray(probability, float)
    if similarity is not None:
        scorers["similarity"] = 1 - np.asarray(similarity, float)
    return {name: scores for name, scores in scorers.items() if np.isfinite(scores).all()}


def calibrated_probability(probability: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Calibrate probabilities of fake, (N,), by way of their logits.

    Their float32 is precise between 0 and 1, where a reliability diagram has its points.
    """
    return calibration.probability(logit(np.clip(np.asarray(probability, float), 1e-7, 1 - 1e-7)))


def roc_table(label: np.ndarray, scorers: Mapping[str, np.ndarray]) -> ChartTable:
    """Tabulate the ROC curve of each scorer; points on a straight line between their neighbours are left out."""
    rows: list[list[Any]] = []
    for name, scores in scorers.items():
        points = drop_straight_points(*roc_points(label, scores))
        rows += [[name, x, y] for x, y in zip(*_thinned(*points), strict=True)]
    return ChartTable(("scorer", "false positive rate", "true positive rate"), rows)


def precision_recall_table(label: np.ndarray, scorers: Mapping[str, np.ndarray]) -> ChartTable:
    """Tabulate the precision-recall curve of each scorer, by rising recall."""
    rows: list[list[Any]] = []
    for name, scores in scorers.items():
        rows += [[name, x, y] for x, y in zip(*_thinned(*precision_recall_points(label, scores)), strict=True)]
    return ChartTable(("scorer", "recall", "precision"), rows)


def confusion_table(label: np.ndarray, verdict: np.ndarray) -> ChartTable:
    """Count the articles of each truth and verdict; fake, the positive class, comes first."""
    label, verdict = np.asarray(label), np.asarray(verdict)
    rows = [
        [truth, said, int(np.sum((label == CLASSES[truth]) & (verdict == CLASSES[said])))]
        for truth in CLASSES
        for said in CLASSES
    ]
    return ChartTable(("truth", "verdict", "articles"), rows)


def reliability_table(label: np.ndarray, probability: Mapping[str, np.ndarray]) -> ChartTable:
    """Tabulate the share of fakes in each tenth of the probability, with Wilson's 95 % interval.

    Args:
        label: 1 = fake, (N,).
        probability: name → probabilities of fake, (N,); tenths without an article have no row.
    """
    rows: list[list[Any]] = []
    for name, values in probability.items():
        found = reliability(label, values)
        counts = found.counts[found.counts > 0]
        columns = (found.mean, found.share, found.low, found.high, counts)
        rows += [[name, *row] for row in zip(*(column.tolist() for column in columns), strict=True)]
    return ChartTable(("probabilities", "mean probability", "share that is fake", "low", "high", "articles"), rows)


def similarity_table(label: np.ndarray, similarity: np.ndarray) -> ChartTable:
    """Tabulate the histogram of M_s of each class, between the lowest and the highest bin that holds an article.

    Args:
        label: 1 = fake, (N,).
        similarity: M_s, (N,), in [0, 1]; articles without a finite one are left out.
    """
    label, similarity = np.asarray(label), np.asarray(similarity, float)
    finite = np.isfinite(similarity)
    edges = np.linspace(0, 1, SIMILARITY_BINS + 1)
    used = np.flatnonzero(np.histogram(similarity[finite], edges)[0])
    rows: list[list[Any]] = []
    for name, index in CLASSES.items():
        counts = np.histogram(similarity[finite & (label == index)], edges)[0]
        if counts.sum():
            rows += [
                [
                    name,
                    float((edges[bin_] + edges[bin_ + 1]) / 2),
                    100 * int(counts[bin_]) / int(counts.sum()),
                    int(counts[bin_]),
                ]
                for bin_ in range(used[0], used[-1] + 1)
            ]
    return ChartTable(("class", "similarity", "share of the class (%)", "articles"), rows)


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """Keep at most POINTS of a curve's points, evenly by their order, with both ends."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).round().astype(int))
    return x[kept].tolist(), y[kept].tolist()
