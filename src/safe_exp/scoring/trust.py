"""Lines for people about how far to trust the figures of a test split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from safe_exp.config.figure_names import DISPLAY_NAMES
from safe_exp.config.threshold import BEST, THRESHOLD
from safe_exp.scoring.calibration import TEMPERATURE_BOUNDS, VALIDATION


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
