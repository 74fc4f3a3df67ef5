"""Choice of the figures of a sweep, and those that are not over a swept key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from safe_exp.config.figure_names import describe_score
from safe_exp.figures.reliability import reliability_figure
from safe_exp.figures.run_figures import LOSSES, similarity_figure
from safe_exp.figures.sheet import GREY, VERMILLION
from safe_exp.reporting.axis_figures import bars_figure, capitalise, curve_figure, heat_map_figure
from safe_exp.reporting.conditions import VARIANTS, Condition, Study, format_value, is_number, symbol

MOST_BARS = 24


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn, with its words."""

    name: str  # of its files, without a suffix
    title: str
    caption: str  # a description, also for people who cannot see the figure
    build: Callable[[], Figure]


class DrawnFigure(NamedTuple):
    """A drawing and its files."""

    drawing: Drawing
    png: Path
    svg: Path


@dataclass(frozen=True)
class MeanSimilarities:
    """Similarities of N test articles, averaged over jobs."""

    ids: list[str]
    label: np.ndarray  # (N,) int, 1 = fake
    similarity: np.ndarray  # (N,) M_s in [0, 1]


def sweep_drawings(study: Study, score: str) -> list[Drawing]:
    """List the figures that the sweep has data for, in the order of the page; nothing is drawn yet."""
    drawings, numeric = [], [key for key in study.swept if all(map(is_number, study.list_values(key)))]
    others = list(study.swept)
    if {"model.alpha", "model.beta"} <= set(numeric):
        if _has_values(study.along("model.alpha", "model.beta"), score):
            drawings.append(_heat_map(study, score))
        others = [key for key in others if key not in ("model.alpha", "model.beta")]
    for key in others:
        values = study.list_values(key)
        if len(study.along(key)) < 2 or not _has_values(study.along(key), score):  # one value, or no score
            continue
        if key in numeric and (len(values) > 2 or key == "model.gamma"):
            drawings.append(_curve(study, key, score))
        elif len(values) <= MOST_BARS:
            drawings.append(_bars(study, key, score))
    drawings += _winner_drawings(study)
    if any(job.read_epochs() for job in study.sweep.finished):
        text = (
            f"One line for each of the {len(study.sweep.finished)} finished jobs; those of the winning condition, "
            f"{study.winner.label}, are thick."
        )
        drawings.append(Drawing("losses", "Losses of all jobs", text, partial(losses_figure, study)))
    return drawings


def winner_reliability_figure(condition: Condition) -> Figure:
    """Draw the reliability diagram of all scores of the condition's jobs on their test articles.

    Intervals are drawn only if each article was tested by one job, since several scores of an article are dependent.
    """
    scored = [job.test_predictions for job in condition.jobs]
    articles, scores = len({name for found in scored for name in found.ids}), sum(map(len, scored))
    jobs = f"{len(condition.jobs)} job{'s' * (len(condition.jobs) != 1)}"
    alone = articles == scores
    of_what = f"{articles} test articles" if alone else f"{scores} scores of {articles} test articles"
    label = np.concatenate([np.array(found.label) for found in scored])
    panels = {"as trained (T = 1)": np.concatenate([np.array(found.probability) for found in scored])}
    return reliability_figure(label, panels, f"{of_what}, {jobs}", intervals=alone)


def losses_figure(study: Study) -> Figure:
    """Draw the training loss and the monitored validation figure: a thin line for each job, the winner's thick."""
    monitored = LOSSES.get(study.monitor, describe_score(study.monitor))
    panels = {"train/loss": "Training loss $L$", f"val/{study.monitor}": f"Validation: {monitored}"}
    figure = Figure(figsize=(9, 4))
    winners = set(map(id, study.winner.jobs))
    jobs, series = [], []  # the two curves of a job; the rest of its values is not kept
    for job in sorted(study.sweep.finished, key=lambda job: id(job) in winners):  # the winner's are drawn on top
        if epochs := job.read_epochs():
            jobs.append(job)
            series.append({name: epochs.get(name, {}) for name in panels})
    thin: dict[str, Any] = {"linewidth": float(np.clip(12 / max(len(jobs), 1), 0.4, 1)), "alpha": 0.45, "color": GREY}
    for (name, title), axes in zip(panels.items(), figure.subplots(1, 2), strict=True):
        for job, curves in zip(jobs, series, strict=True):
            values = curves[name]
            look = {"color": VERMILLION, "linewidth": 1.8} if id(job) in winners else thin
            places = [epoch + 1 for epoch in values]
            axes.plot(places, list(values.values()), marker="o" if len(places) == 1 else None, ms=3, **look)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.suptitle(f"Losses of {len(jobs)} job{'s' * (len(jobs) != 1)}", fontsize=11)
    figure.axes[0].set_ylabel("mean over the articles (nats)")
    figure.axes[1].set_ylabel("nats" if "loss" in study.monitor else describe_score(study.monitor))
    figure.axes[0].plot([], [], color=VERMILLION, linewidth=1.8, label=f"winner: {study.winner.label}")
    if len(study.winner.jobs) < len(jobs):
        figure.axes[0].plot([], [], color=GREY, label="every other job")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def mean_similarity(condition: Condition) -> MeanSimilarities:
    """Average the M_s of each test article over the jobs of a condition that tested it."""
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    labels: dict[str, int] = {}
    for job in condition.jobs:
        for article in job.test_predictions:
            if article.similarity is not None:
                sums[article.id] = sums.get(article.id, 0.0) + article.similarity
                counts[article.id] = counts.get(article.id, 0) + 1
                labels[article.id] = article.label
    return MeanSimilarities(
        ids=list(sums),
        label=np.array(list(labels.values()), dtype=int),
        similarity=np.array([total / counts[name] for name, total in sums.items()]),
    )


def find_condition_with_similarity(study: Study) -> Condition | None:
    """Return the winner if it compares text and image, else the reference, else the first condition that does."""
    candidates = [study.winner, study.reference, *study.conditions]
    return next((c for c in candidates if len(mean_similarity(c).ids)), None)


def _winner_drawings(study: Study) -> list[Drawing]:
    """List the figures of the similarity and of the winner's probabilities."""
    drawings = []
    condition = find_condition_with_similarity(study)
    if condition is not None:
        text = f"Condition: {condition.label}. M_s of each test article, averaged over the jobs that tested it."
        text += "" if condition is study.winner else " The winner compares no text with an image."
        title = "How alike text and image are, in real and in fake articles"
        drawings.append(Drawing("similarity", title, text, lambda: similarity_figure(mean_similarity(condition))))
    if any(job.test_predictions for job in study.winner.jobs):
        text = f"The winning condition, {study.winner.label}. On the dotted line, 70 % of what is given 0.7 is fake."
        title = "Can the probabilities be taken at their word?"
        drawings.append(Drawing("reliability", title, text, partial(winner_reliability_figure, study.winner)))
    return drawings


def _heat_map(study: Study, score: str) -> Drawing:
    """Plan the map over α and β."""
    fixed = _fixed(study, "model.alpha", "model.beta")
    text = f"Mean {describe_score(score)} of the test articles for each α and β{fixed}."
    return Drawing("alpha_beta", "α and β", text, partial(heat_map_figure, study, score))


def _curve(study: Study, key: str, score: str) -> Drawing:
    """Plan the curve over a numeric key."""
    text = f"{capitalise(describe_score(score))} of the test articles for each {symbol(key)}{_fixed(study, key)}."
    return Drawing(_file_name(key), f"Over {symbol(key)}", text, partial(curve_figure, study, key, score))


def _bars(study: Study, key: str, score: str) -> Drawing:
    """Plan the bars over the values of a key."""
    text = f"{capitalise(describe_score(score))} of the test articles for each {symbol(key)}{_fixed(study, key)}."
    title = "Variants of the model" if key == VARIANTS else f"By {symbol(key)}"
    return Drawing(_file_name(key), title, text, partial(bars_figure, study, key, score))


def _has_values(conditions: list[Condition], score: str) -> bool:
    """Return True if a job of these conditions has the test score."""
    return any(condition.summary("test", score).n for condition in conditions)


def _fixed(study: Study, *keys: str) -> str:
    """Name the winner's values of all other swept keys, which a figure over `keys` holds fixed."""
    rest = [f"{symbol(key)} = {format_value(value)}" for key, value in study.winner.values.items() if key not in keys]
    return f", the winner's {' and '.join(rest)} kept" if rest else ""


def _file_name(key: str) -> str:
    """Make a file name of a key."""
    name = "variants" if key == VARIANTS else key.removeprefix("model.")
    return "".join(character if character.isalnum() else "_" for character in name)
