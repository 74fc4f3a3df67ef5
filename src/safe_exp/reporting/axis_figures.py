"""Figures of the score over the swept keys: a map over α and β, a curve over a number, bars over other values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from safe_exp.config.figure_names import describe_score
from safe_exp.figures.sheet import BLUE, GREY, VERMILLION
from safe_exp.reporting.conditions import Condition, Study, format_value, symbol
from safe_exp.reporting.statistics import Summary
from safe_exp.reporting.sweep_tables import majority_rate

LIGHT, DARK, PALE_BLUE = "#ffffff", "#111111", "#9ecae1"
CHANCE = {"auroc": 0.5, "similarity_auroc": 0.5}
AXES = {
    "model.alpha": "weight α of the prediction loss",
    "model.beta": "weight β of the similarity loss",
    "model.gamma": "learning rate γ (log scale)",
    "model.filter_sizes": "window widths H (words)",
}


def heat_map_figure(study: Study, score: str) -> Figure:
    """Draw the mean score for each α (across) and β (up); a cell without a finished job reads "no result"."""
    alphas, betas = study.list_values("model.alpha"), study.list_values("model.beta")
    cells: dict[tuple[str, str], Summary] = {
        (format_value(c.values["model.alpha"]), format_value(c.values["model.beta"])): c.summary("test", score)
        for c in study.along("model.alpha", "model.beta")
    }
    grid = np.full((len(betas), len(alphas)), np.nan)
    for row, column in np.ndindex(*grid.shape):
        found = cells.get((format_value(alphas[column]), format_value(betas[row])))
        grid[row, column] = np.nan if found is None or found.mean is None else found.mean
    figure = Figure(figsize=(2.6 + 0.85 * len(alphas), 1.9 + 0.62 * len(betas)))
    axes = figure.subplots()
    image = axes.imshow(grid, cmap="viridis", origin="lower", aspect="auto")
    axes.set_facecolor("#eeeeee")
    for row, column in np.ndindex(*grid.shape):
        known = np.isfinite(grid[row, column])
        found = cells.get((format_value(alphas[column]), format_value(betas[row])))
        text = f"{grid[row, column]:.3f}" if known else "no\nresult"
        text += f"\n± {found.sd:.3f}" if known and found.sd is not None else ""
        ink = _ink(image.cmap(image.norm(grid[row, column]))) if known else GREY
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set(xticks=range(len(alphas)), xticklabels=map(format_value, alphas), yticks=range(len(betas)))
    axes.set(yticklabels=map(format_value, betas), xlabel=AXES["model.alpha"], ylabel=AXES["model.beta"])
    axes.set_title(f"{capitalise(describe_score(score))} of the test articles")
    figure.colorbar(image, label=describe_score(score))
    return figure


def curve_figure(study: Study, key: str, score: str) -> Figure:
    """Draw the score over a numeric key, γ on a logarithmic axis. Dots are jobs, the line is their mean."""
    conditions = sorted(study.along(key), key=lambda condition: condition.values[key])
    x = np.array([condition.values[key] for condition in conditions], dtype=float)
    summaries = [condition.summary("test", score) for condition in conditions]
    figure = Figure(figsize=(6.4, 4))
    axes = figure.subplots()
    if key == "model.gamma":
        axes.set_xscale("log")
    for value, condition in zip(x, conditions, strict=True):
        values = _job_values(condition, score)
        axes.plot([value] * len(values), values, "o", color=BLUE, ms=4, alpha=0.35, mew=0)
    means = [np.nan if s.mean is None else s.mean for s in summaries]
    axes.plot(x, means, "-", color=BLUE, marker="s", ms=6, label="mean over the jobs")
    with_interval = [(value, s) for value, s in zip(x, summaries, strict=True) if s.low is not None]
    if with_interval:
        places, found = zip(*with_interval, strict=True)
        axes.errorbar(places, [s.mean for s in found], _interval_lengths(found), fmt="none", ecolor=BLUE, capsize=5,
                      label="95 % bootstrap interval")  # fmt: skip
    axes.plot([], [], "o", color=BLUE, ms=4, alpha=0.35, mew=0, label="one job")
    _mark_level(axes.axhline, study, score)
    axes.set(xlabel=AXES.get(key, key), ylabel=describe_score(score), xticks=x, xticklabels=map(format_value, x))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.minorticks_off()
    axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    axes.set_title(f"{capitalise(describe_score(score))} of the test articles over {symbol(key)}")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def bars_figure(study: Study, key: str, score: str) -> Figure:
    """Draw a bar for each value of a key, from 0. Dots are jobs, the whisker is the interval of their mean."""
    conditions = study.along(key)
    figure = Figure(figsize=(7, max(3.5, 1.5 + 0.5 * len(conditions))))
    axes = figure.subplots()
    for place, condition in enumerate(conditions):
        summary = condition.summary("test", score)
        axes.barh(place, summary.mean or 0, height=0.62, color=BLUE if condition is study.winner else PALE_BLUE)
        values = _job_values(condition, score)
        axes.plot(values, [place + 0.2] * len(values), "o", color="white", mec=DARK, ms=4.5, mew=0.8)
        if summary.low is not None:
            axes.errorbar(summary.mean, place, xerr=_interval_lengths([summary]), color=DARK, capsize=5, lw=1.4)
        mean = "mean " * (len(values) > 1)
        text = "no value" if summary.mean is None else f"{mean}{summary.mean:.3f}"
        right = max([summary.high or 0, summary.mean or 0, *values])
        axes.annotate(text, (right, place), (6, 0), textcoords="offset points", va="center", fontsize=9)
    _mark_level(axes.axvline, study, score)
    names = [format_value(c.values[key]) + ("\n(winner)" if c is study.winner else "") for c in conditions]
    axes.set(yticks=range(len(conditions)), yticklabels=names, xlabel=f"{describe_score(score)} (dots: single jobs)")
    axes.set_ylabel(AXES.get(key, symbol(key)))
    axes.set_xlim(0, axes.get_xlim()[1] * 1.08)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_title(f"{capitalise(describe_score(score))} of the test articles by {symbol(key)}")
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def _job_values(condition: Condition, score: str) -> list[float]:
    """Read the test score of each job that has one."""
    values = (job.figure("test", score) for job in condition.jobs)
    return [value for value in values if value is not None]


def _interval_lengths(summaries: Sequence[Summary]) -> np.ndarray:
    """Compute the lengths of error bars below and above each mean, (2, len(summaries))."""
    # A bootstrap interval of the mean contains the mean, but rounding could make a length slightly negative.
    return np.maximum([[s.mean - s.low for s in summaries], [s.high - s.mean for s in summaries]], 0)


def _mark_level(draw: Callable[..., object], study: Study, score: str) -> None:
    """Draw a line at the score that needs no model: chance, or the majority rate for accuracy."""
    level = majority_rate(study.winner) if score == "accuracy" else CHANCE.get(score)
    if level is not None:
        name = "majority rate" if score == "accuracy" else "chance"
        draw(level, color=VERMILLION, linestyle="--", linewidth=1.2, label=f"{name}: {level:.3f}")


def capitalise(text: str) -> str:
    """Make the first letter a capital and leave the others."""
    return text[:1].upper() + text[1:]


def _ink(rgba: Sequence[float] | np.ndarray) -> str:
    """Choose black or white text for a background colour (4,), by WCAG's relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgba[:3]]
    return DARK if float(np.dot([0.2126, 0.7152, 0.0722], linear)) > 0.18 else LIGHT
