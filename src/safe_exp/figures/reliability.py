"""How far the probabilities of a run can be taken at their word, before and after its temperature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import logit

from safe_exp.figures.run_figures import Predictions
from safe_exp.figures.sheet import BLUE, GREY, VERMILLION, laid_out, save_figure, sheet
from safe_exp.scoring.calibration import Calibration

BINS = 10  # fewer than for the calibration error: a point is to stand for several articles


def draw_reliability(path: Path, predictions: Predictions, calibration: Calibration) -> Path:
    """Write the reliability diagram of the test articles; returns its path."""
    before = np.asarray(predictions.probability, dtype=float)
    # From the probability and not the logit: float32 keeps its digits where the diagram has its points.
    after = calibration.probability(logit(np.clip(before, 1e-7, 1 - 1e-7)))
    save_figure(lambda: reliability_figure(np.asarray(predictions.label), before, after, calibration.temperature), path)
    return path


def reliability_figure(label: np.ndarray, before: np.ndarray, after: np.ndarray, temperature: float) -> Figure:
    """Among the articles that were called fake with a probability of about p: which share is?

    Args:
        label: 1 = fake, (N,).
        before, after: the probability of fake without and with the temperature, (N,).
    """
    figure = sheet("reliability", (8.6, 4.9), 2, 2, sharex=True, sharey="row", height_ratios=(4, 1))
    above, below = figure.axes[:2], figure.axes[2:]
    titles = ("as trained (T = 1)", f"calibrated on validation (T = {temperature:.2f})")
    for column, (title, score) in enumerate(zip(titles, (before, after), strict=True)):
        _points(above[column], label, score)
        above[column].set(title=title, xlim=(0, 1), ylim=(0, 1))
        below[column].hist(score, np.linspace(0, 1, BINS + 1), color=BLUE, rwidth=0.9)
        below[column].set(xlabel="probability of fake")
    above[0].set_ylabel("share that is fake")
    below[0].set_ylabel("articles")
    figure.suptitle(f"Reliability on {len(label)} test articles (bars: 95 % by Wilson)", fontsize=11)
    figure.legend(*above[0].get_legend_handles_labels(), loc="lower center", ncols=2)
    return laid_out(figure, left=0.7, right=0.2, bottom=0.85, top=0.7, hspace=0.1, wspace=0.08)


def _points(axes: Axes, label: np.ndarray, score: np.ndarray) -> None:
    means, shares, low, high = reliability(label, score)
    axes.plot([0, 1], [0, 1], ":", color=GREY, label="what a probability promises")
    errors = np.clip([shares - low, high - shares], 0, None)
    look = {"color": VERMILLION, "capsize": 3, "linestyle": "-", "clip_on": False}
    axes.errorbar(means, shares, errors, marker="o", label="what came of it", **look)


def reliability(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each of BINS equal bins that holds an article: mean score, share of fakes, and Wilson's interval of it."""
    bins = np.minimum((score * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    held = counts > 0
    n = counts[held]
    means = np.bincount(bins, score, BINS)[held] / n
    shares = np.bincount(bins, label == 1, BINS)[held] / n
    z = 1.959964  # of the normal distribution, two-sided 95 %
    middle = (shares + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(shares * (1 - shares) / n + z * z / (4 * n * n))
    return means, shares, middle - half, middle + half
