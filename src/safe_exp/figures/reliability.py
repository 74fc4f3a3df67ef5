"""Reliability diagrams of probabilities: of a run, or of a sweep's winning condition."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from safe_exp.figures.run_figures import Predictions
from safe_exp.figures.sheet import BLUE, GREY, VERMILLION, save_figure, set_margins, sheet
from safe_exp.scoring.calibration import Calibration
from safe_exp.scoring.charts import calibrated_probability
from safe_exp.scoring.reliability import BINS, reliability

PANEL_INCHES = 3.85


def draw_reliability(path: Path, predictions: Predictions, calibration: Calibration) -> Path:
    """Write the reliability diagram of the test articles, before and after calibration, to `path`, and return it.

    Args:
        predictions: labels and probabilities of the test articles, (N,) each.
        calibration: the temperature that was fitted on the validation articles.
    Raises:
        UnwritableFile: the file cannot be written.
    """
    label = np.asarray(predictions.label)
    before = np.asarray(predictions.probability, dtype=float)
    after = calibrated_probability(before, calibration)
    panels = {
        "as trained (T = 1)": before,
        f"calibrated on validation (T = {calibration.temperature:.2f})": after,
    }
    save_figure(lambda: reliability_figure(label, panels, f"{len(label)} test articles"), path)
    return path


def reliability_figure(
    label: np.ndarray, panels: Mapping[str, np.ndarray], subject: str, intervals: bool = True
) -> Figure:
    """Draw the share of fakes over the mean probability of each bin, and below it the number of scores in the bin.

    Args:
        label: labels (N,); 1 = fake.
        panels: title of each panel → probabilities of fake (N,).
        subject: end of the heading, such as "160 test articles".
        intervals: draw Wilson's 95 % intervals, which are valid if each score belongs to a different article.
    """
    size = (0.9 + PANEL_INCHES * len(panels), 4.9)
    figure = sheet("reliability", size, 2, len(panels), sharex=True, sharey="row", height_ratios=(4, 1))
    above, below = figure.axes[: len(panels)], figure.axes[len(panels) :]
    look: dict[str, Any] = {"color": VERMILLION, "marker": "o", "linestyle": "-", "clip_on": False}
    look["label"] = "test articles, by tenths"
    for column, (title, probability) in enumerate(panels.items()):
        found = reliability(label, probability)
        above[column].plot([0, 1], [0, 1], ":", color=GREY, label="perfectly calibrated")
        errors = np.clip([found.share - found.low, found.high - found.share], 0, None) if intervals else None
        above[column].errorbar(found.mean, found.share, errors, capsize=3, **look)
        above[column].set(title=title, xlim=(0, 1), ylim=(0, 1))
        below[column].bar((np.arange(BINS) + 0.5) / BINS, found.counts, width=0.9 / BINS, color=BLUE)
        below[column].set(xlabel="probability of fake")
    above[0].set_ylabel("share that is fake")
    below[0].set_ylabel("articles" if intervals else "scores")
    below[0].yaxis.set_major_locator(MaxNLocator(3, integer=True))
    figure.suptitle(f"Reliability on {subject}" + (" (bars: 95 % by Wilson)" if intervals else ""), fontsize=11)
    figure.legend(*above[0].get_legend_handles_labels(), loc="lower center", ncols=2)
    return set_margins(figure, left=0.7, right=0.2, bottom=0.85, top=0.7, hspace=0.1, wspace=0.08)
