"""The files that a run is drawn into, by name and with their words. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FOLDER = "figures"  # in the run folder
PAGE = "report.html"  # in the run folder


class Words(NamedTuple):
    """The words of a figure, also for people who cannot see it."""

    title: str
    caption: str


FIGURES = {
    "loss_curves": Words(
        "Losses", "Mean loss of each epoch on the training and the validation articles; dotted: the best epoch."
    ),
    "confusion_matrix": Words("Verdicts", "Test articles by truth and verdict; fake is the positive class."),
    "ranking": Words("Ranking", "ROC and precision-recall curves of each scorer on the test articles."),
    "similarity": Words(
        "Similarity", "M_s of text and image, in real and in fake test articles; each mark below is an article."
    ),
    "reliability": Words(
        "Reliability",
        "Share of fakes among the test articles by probability of fake, as trained and calibrated on validation. "
        "On the dotted line, 70 % of what is given 0.7 is fake.",
    ),
}


def figure_path(run: Path, name: str) -> Path:
    """Return the path of a figure, one of FIGURES."""
    return run / FOLDER / f"{name}.png"


def remove_drawings(run: Path) -> None:
    """Remove the figures and the page of a run that has trained further since they were made."""
    for path in (*(figure_path(run, name) for name in FIGURES), run / PAGE):
        path.unlink(missing_ok=True)
