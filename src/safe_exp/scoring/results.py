"""A run's results, and the files that hold them: metrics.json and predictions.csv."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from safe_exp.config import LossSettings
from safe_exp.config.figure_names import DISPLAY_NAMES, log_names
from safe_exp.config.threshold import BEST, THRESHOLD
from safe_exp.scoring.calibration import TEMPERATURE_BOUNDS, VALIDATION
from safe_exp.scoring.intervals import split_intervals
from safe_exp.scoring.scores import Judgement, ScoredSplit, calibrate, split_figures
from safe_exp.system.csv_cells import to_cell
from safe_exp.system.files import whole_file, write_sealed_json

Ids: TypeAlias = "Sequence[str] | Mapping[int, str]"  # of articles, by their rows in the data module
CURVES = "curves.json"  # in a run folder
COLUMNS = ("id", "split", "label", "probability", "similarity", "verdict")


@dataclass(frozen=True)
class Predictions:
    """The scored articles of one split, N of them."""

    split: str
    ids: list[str]
    label: np.ndarray  # (N,) 1 = fake
    probability: np.ndarray  # (N,) of fake
    similarity: np.ndarray | None  # (N,) None for a variant that compares nothing
    threshold: float = THRESHOLD  # a probability above it is the verdict "fake"

    @property
    def verdict(self) -> np.ndarray:
        """Verdicts at the threshold, 1 = fake, (N,)."""
        return (self.probability > self.threshold).astype(int)

    def rows(self) -> list[dict[str, Any]]:
        """Make one dict for each article, with the keys of COLUMNS and plain values."""
        similarity = [None] * len(self.ids) if self.similarity is None else self.similarity.tolist()
        columns = (
            self.ids,
            [self.split] * len(self.ids),
            self.label.tolist(),
            self.probability.tolist(),
            similarity,
            self.verdict.tolist(),
        )
        return [dict(zip(COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]


class Results(NamedTuple):
    """A trained model's figures and predictions on its validation and test articles."""

    metrics: dict[str, Any]  # "val" and "test" of metrics.json, test with its intervals
    predictions: list[Predictions]  # val, test
    judgement: Judgement


def score_results(
    scored: Mapping[str, ScoredSplit], ids: Ids, loss: LossSettings, combines: bool, threshold: float | str
) -> Results:
    """Calibrate on validation; compute the figures of both splits, and the intervals of test.

    Args:
        scored: the splits `val` and `test`.
        ids: of the articles, by the numbers in `rows`.
        loss: α, β and the kind of L_s.
        combines: M_p and M_s are two scorers, which can be joined.
        threshold: a number, or `best`.
    """
    judgement = Judgement(calibrate(scored["val"], combines), threshold)
    metrics: dict[str, Any] = {name: split_figures(split, loss, judgement) for name, split in scored.items()}
    predictions = [
        split_predictions(name, ids, split, metrics[name]["thresholds"]["prediction"]) for name, split in scored.items()
    ]
    metrics["test"]["intervals"] = split_intervals(scored["test"], loss, judgement)
    return Results(metrics, predictions, judgement)


def split_predictions(split: str, ids: Ids, scored: ScoredSplit, threshold: float = THRESHOLD) -> Predictions:
    """Join a scored split with its articles' ids, by its `rows`."""
    return Predictions(
        split,
        [ids[row] for row in scored.rows.tolist()],
        scored.label.numpy(),
        scored.probability.numpy(),
        None if scored.similarity is None else scored.similarity.numpy(),
        threshold,
    )


def logged_figures(split: str, figures: Mapping[str, Any], scored: ScoredSplit) -> dict[str, float]:
    """Name a split's figures as they are logged, and add the mean similarity of each class.

    Args:
        split: its name, which each logged name begins with.
        figures: the result of `split_figures`.
        scored: the split itself.
    """
    logged = log_names(figures)
    if scored.similarity is not None:
        for name, label in (("real", 0), ("fake", 1)):
            logged[f"similarity_{name}"] = scored.similarity[scored.label == label].mean().item()
    return {f"{split}/{name}": value for name, value in logged.items()}


def write_predictions(path: Path, splits: Sequence[Predictions]) -> None:
    """Write predictions.csv, probability and similarity with 6 digits; a similarity that does not exist stays empty."""
    with whole_file(path) as draft, open(draft, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        for predictions in splits:
            for row in predictions.rows():
                for name in ("probability", "similarity"):
                    row[name] = "" if row[name] is None else f"{row[name]:.6g}"
                row["id"] = to_cell(row["id"])
                writer.writerow(row)


def write_curves(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write CURVES: what was logged of each epoch, from which losses are drawn; null for a value that is not finite.

    Args:
        folder: of the run.
        history: one dict for each epoch, with train/loss, val/loss and so on.
    """
    epochs = [{name: value if math.isfinite(value) else None for name, value in row.items()} for row in history]
    write_sealed_json(folder / CURVES, {"epochs": epochs})


def trust_lines(test: Mapping[str, Any], threshold: float | str = THRESHOLD, fitted_on: str = VALIDATION) -> list[str]:
    """Describe how far to trust the test figures: classes, thresholds, intervals, combined scorer, calibration.

    Args:
        test: the test split's part of metrics.json.
        threshold: a number, or `best`, as the run was asked for.
        fitted_on: the articles that the calibration was fitted on.
    Returns:
        Lines for people.
    """

    def show_scorer(scorer: str) -> str:
        """Show a scorer's accuracy and AUROC with their intervals."""
        parts = []
        for figure in ("accuracy", "auroc"):
            value, interval = test[scorer][figure], test["intervals"][scorer].get(figure)
            if interval is not None and math.isfinite(value):
                low, high = interval
                spread = f"{low:.3f} to {high:.3f}" if low < high else "every resample alike: too few articles to tell"
                parts.append(f"{DISPLAY_NAMES[figure]} {value:.3f} ({spread})")
        return ", ".join(parts) or "undefined"

    articles, cuts = test["articles"], test["thresholds"]
    cut = (
        ", ".join(f"{scorer} {value:.3g}" for scorer, value in cuts.items()) if threshold == BEST else f"{threshold:g}"
    )
    lines = [
        f"test: {articles['fake']} fake, {articles['real']} real; called fake: scores above {cut}"
        + (f" (threshold=best: the highest macro F1 on {fitted_on})" if threshold == BEST else ""),
        f"prediction: {show_scorer('prediction')}; the brackets hold 95 % of the test split's resamples",
    ]
    if "combined" in test:
        lines.append(f"combined (M_p and M_s, joined on {fitted_on}): {show_scorer('combined')}")
    if "calibrated" in test:
        before, after = test["prediction"], test["calibrated"]
        figures = (f"{DISPLAY_NAMES[name]} {before[name]:.3f} → {after[name]:.3f}" for name in ("brier", "ece"))
        low, high = TEMPERATURE_BOUNDS
        bound = not low * 1.01 < after["temperature"] < high * 0.99
        limit = " (its limit: too few articles to tell a temperature)" if bound else ""
        lines.append(f"calibrated on {fitted_on}, T = {after['temperature']:.3g}{limit}: {', '.join(figures)}")
    return lines


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics.json; a figure that is undefined (AUROC of one class) becomes null."""
    write_sealed_json(path, json_ready(metrics))


def json_ready(value: Any) -> Any:
    """Replace numbers that JSON lacks by None, and intervals by lists."""
    if isinstance(value, Mapping):
        return {key: json_ready(inner) for key, inner in value.items()}
    if isinstance(value, tuple):  # an interval
        return [json_ready(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
