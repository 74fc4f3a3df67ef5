"""Figures of one run: its losses, and the similarity, verdicts and ranking of its test articles.

Line styles, markers and hatches repeat the distinction of the colours, for print in grey.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from safe_exp.figures.sheet import BLUE, GREY, VERMILLION, replace_plot, save_figure, set_margins, sheet, text_figure
from safe_exp.scoring.charts import scorer_values
from safe_exp.scoring.curves import area_under, average_precision, precision_recall_points, roc_points

LOSSES = {
    "loss": r"$L = \alpha L_p + \beta L_s$",
    "loss_prediction": "Prediction loss $L_p$",
    "loss_similarity": "Similarity loss $L_s$",
}
CLASSES = {"real": (0, BLUE, "o", "///"), "fake": (1, VERMILLION, "x", "\\\\\\")}  # label, colour, marker, hatch


class Similarities(Protocol):
    """The label and the similarity of each of N articles."""

    @property
    def label(self) -> np.ndarray:
        """Labels (N,), int; 1 = fake."""

    @property
    def similarity(self) -> np.ndarray | None:
        """M_s (N,), in [0, 1]; None if the variant has none."""


class Predictions(Similarities, Protocol):
    """The predictions for N test articles."""

    @property
    def probability(self) -> np.ndarray | None:
        """Probability of fake (N,), in [0, 1]; None if the variant has no M_p."""

    @property
    def verdict(self) -> np.ndarray:
        """Verdicts (N,), int; 1 = fake."""


def draw_run_figures(
    folder: Path, history: list[dict[str, float]], predictions: Predictions, best_epoch: int | None = None
) -> dict[str, Path]:
    """Write the figures of a run into folder/figures/ and return their paths by name.

    Args:
        history: one dict per epoch, with train/loss, val/loss and so on, as far as the variant has them.
        predictions: those of the test articles.
        best_epoch: the epoch of the best checkpoint, counted from 0 as by Lightning; the figures count from 1.
    Returns:
        The paths of loss_curves, confusion_matrix, ranking and, if the variant has one, similarity.
    Raises:
        UnwritableFile: a file cannot be written.
    """
    builders: dict[str, Callable[[], Figure]] = {
        "loss_curves": lambda: loss_figure(history, best_epoch),
        "confusion_matrix": lambda: confusion_figure(predictions),
        "ranking": lambda: ranking_figure(predictions),
    }
    if predictions.similarity is not None:
        builders["similarity"] = lambda: similarity_figure(predictions)
    paths = {name: Path(folder) / "figures" / f"{name}.png" for name in builders}
    for name, build in builders.items():
        save_figure(build, paths[name])
    return paths


def loss_figure(history: list[dict[str, float]], best_epoch: int | None) -> Figure:
    """Draw the training and validation curves of each loss, one loss a panel.

    Args:
        history: one dict per epoch, as of `draw_run_figures`.
        best_epoch: the epoch of the best checkpoint, counted from 0; None marks none.
    """
    shown = [key for key in LOSSES if any(np.isfinite(_series(history, f"{s}/{key}")).any() for s in ("train", "val"))]
    size = (1.2 + 3.4 * max(len(shown), 1), 3.4)
    if not shown:
        return text_figure(size, "No epoch was completed: there are no losses to show.")
    figure = sheet("losses", size, 1, len(shown))
    epochs = np.arange(1, len(history) + 1)
    for key, axes in zip(shown, figure.axes, strict=True):
        for stage, colour, style, marker in (("train", BLUE, "-", "o"), ("val", VERMILLION, "--", "s")):
            values = _series(history, f"{stage}/{key}")
            if np.isfinite(values).any():
                every = max(1, len(epochs) // 12)  # markers on each of 40 epochs would hide the line
                label = {"train": "training", "val": "validation"}[stage]
                axes.plot(epochs, values, style, color=colour, marker=marker, ms=4, markevery=every, label=label)
        if best_epoch is not None:
            axes.axvline(best_epoch + 1, color=GREY, linestyle=":", label=f"best checkpoint: epoch {best_epoch + 1}")
        axes.set(title=LOSSES[key], xlabel="epoch", xlim=(0.5, len(epochs) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    first = figure.axes[0]
    first.set_ylabel("mean over the articles (nats)")
    count = f"{len(epochs)} epoch" + ("" if len(epochs) == 1 else "s")
    figure.suptitle(f"Training and validation loss over {count}", fontsize=11)
    figure.legend(*first.get_legend_handles_labels(), loc="lower center", ncols=3)
    return set_margins(figure, left=0.7, right=0.15, bottom=0.85, top=0.7, wspace=0.25)


def similarity_figure(predictions: Similarities) -> Figure:
    """Draw the distribution of M_s over real and over fake articles: a histogram above, each article below.

    Args:
        predictions: labels and similarities, (N,) each; articles without a finite similarity are left out.
    """
    similarity, label = np.asarray(predictions.similarity, dtype=float), np.asarray(predictions.label)
    finite = similarity[np.isfinite(similarity)]
    if not len(finite):
        return text_figure((6.4, 4.2), "No test article has a similarity.")
    figure = sheet("similarity", (6.4, 4.2), 2, 1, sharex=True, height_ratios=(4, 1))
    above, below = figure.axes
    middle, half = (finite.max() + finite.min()) / 2, max(np.ptp(finite) / 2, 0.025)  # equal scores get a width too
    edges = np.linspace(middle - half, middle + half, 12 if len(finite) < 60 else 22)  # odd bins: one in the middle
    for name, (index, colour, marker, hatch) in CLASSES.items():
        values = similarity[(label == index) & np.isfinite(similarity)]
        if not len(values):
            continue
        shares = np.full(len(values), 100 / len(values))
        text = f"{name}, n = {len(values)}, mean {values.mean():.2f}"
        look: dict[str, Any] = {
            "histtype": "stepfilled",
            "facecolor": colour + "40",
            "edgecolor": colour,
            "hatch": hatch,
        }
        above.hist(values, edges, weights=shares, linewidth=1.5, label=text, **look)  # type: ignore[arg-type]  # an array
        above.axvline(values.mean(), color=colour, linestyle={"real": "-", "fake": "--"}[name])
        below.plot(values, np.full(len(values), index), marker, color=colour, ms=6, alpha=0.6, linestyle="none")
    above.set(ylabel="share of the class (%)")
    above.set_title(f"Similarity of text and image, {len(finite)} test articles (vertical lines: class means)")
    above.margins(y=0.08)
    figure.legend(*above.get_legend_handles_labels(), loc="lower center", ncols=2)
    below.set(xlabel="similarity $M_s$, from 0 (opposed) to 1 (alike)", yticks=[0, 1], yticklabels=["real", "fake"])
    below.set_ylim(-0.6, 1.6)
    return set_margins(figure, left=0.75, right=0.2, bottom=0.85, top=0.4, hspace=0.08)


def confusion_figure(predictions: Predictions) -> Figure:
    """Draw the confusion matrix; fake, the positive class, comes first.

    Args:
        predictions: labels and verdicts, (N,) each.
    """
    label, verdict = np.asarray(predictions.label), np.asarray(predictions.verdict)
    counts = np.array([[np.sum((label == true) & (verdict == said)) for said in (1, 0)] for true in (1, 0)])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = sheet("confusion", (4.6, 4.2))
    (axes,) = figure.axes
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(2, 2):
        share = f"{shares[row, column]:.0%} of {['fake', 'real'][row]}" if counts[row].sum() else "no such article"
        ink = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row - 0.06, counts[row, column], ha="center", va="center", color=ink, fontsize=20)
        axes.text(column, row + 0.2, share, ha="center", va="center", color=ink)
    axes.grid(visible=False)
    axes.set(xticks=[0, 1], xticklabels=["Fake", "Real"], yticks=[0, 1], yticklabels=["Fake", "Real"])
    axes.set(xlabel="verdict", ylabel="truth")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    accuracy = f"{np.trace(counts)} of {len(label)} right" if len(label) else "none"
    axes.set_title(f"Verdicts on the test articles: {accuracy}")
    return set_margins(figure, left=0.8, right=0.2, bottom=0.6, top=0.4)


def ranking_figure(predictions: Predictions) -> Figure:
    """Draw the ROC and precision-recall curves of each scorer.

    Args:
        predictions: labels, probabilities and similarities, (N,) each.
    """
    label = np.asarray(predictions.label)
    fakes, reals = int((label == 1).sum()), int((label == 0).sum())
    figure = sheet("ranking" if fakes and reals else "no ranking", (8.6, 4.3), 1, 2)
    roc, precision_recall = figure.axes
    roc.set(xlabel="false positive rate (real called fake)", ylabel="true positive rate (fakes found)")
    precision_recall.set(xlabel="recall (fakes found)", ylabel="precision (called fake that are)")
    if not fakes or not reals:
        for axes in figure.axes:
            replace_plot(axes, f"Undefined: there are {fakes} fake and\n{reals} real articles in the test split.")
    else:
        roc.plot([0, 1], [0, 1], ":", color=GREY, label="chance: AUC 0.500")
        precision_recall.axhline(fakes / len(label), ls=":", color=GREY, label=f"chance: {fakes / len(label):.3f}")
        for name, scores, colour, style in _scorers(predictions):
            look: dict[str, Any] = {"color": colour, "linestyle": style, "linewidth": 2, "clip_on": False}
            false_positive_rate, recall = roc_points(label, scores)
            area = area_under(false_positive_rate, recall)
            roc.plot(false_positive_rate, recall, label=f"{name}: AUC {area:.3f}", **look)
            recall, precision = precision_recall_points(label, scores)
            text = f"{name}: AP {average_precision(recall, precision):.3f}"
            precision_recall.plot(recall, precision, drawstyle="steps-pre", label=text, **look)
        for axes in figure.axes:
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
            axes.legend(loc="lower right" if axes is roc else "lower left")
    roc.set_title("ROC")
    precision_recall.set_title("Precision and recall")
    figure.suptitle(f"Ranking of the test articles: {fakes} fake, {reals} real", fontsize=11)
    return set_margins(figure, left=0.7, right=0.2, bottom=0.55, top=0.7, wspace=0.2)


class _Scorer(NamedTuple):
    """A scorer in the ranking figure, with its look."""

    name: str
    scores: np.ndarray  # (N,), higher for fake
    colour: str
    style: str  # of the line


def _scorers(predictions: Predictions) -> list[_Scorer]:
    """List the scorers that give every article a finite score."""
    looks = {
        "prediction": ("prediction $M_p$", BLUE, "-"),
        "similarity": ("similarity $1 - M_s$", VERMILLION, "--"),
    }
    found = scorer_values(predictions.probability, predictions.similarity)
    return [_Scorer(looks[name][0], scores, *looks[name][1:]) for name, scores in found.items()]


def _series(history: list[dict[str, float]], key: str) -> np.ndarray:
    """Read a logged value of each epoch, (epochs,); NaN where there is none."""
    return np.array([row[key] if row.get(key) is not None else np.nan for row in history], dtype=float)
