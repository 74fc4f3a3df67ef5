"""What figures are drawn on: the house style, empty axes that are used again, margins, and the files.

Colours are Okabe and Ito's, told apart by readers with any colour vision.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from safe_exp.system.files import whole_file

BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"
DPI = 150
PNG_EFFORT = 2  # of 9; more takes longer than it is worth for files of 50 kB
STYLE = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titley": 1.0,  # else every title is placed by measuring all that stands around it
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "hatch.linewidth": 0.6,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "safe_exp",
}


def save_figure(build: Callable[[], Figure], *paths: Path) -> None:
    """Draw once in the house style and write each file in the format of its suffix."""
    now = matplotlib.rcParams
    changed = {name: value for name, value in house_style().items() if now[name] != value}  # each is checked anew
    with matplotlib.rc_context(changed):  # no pyplot, so no global figures
        figure = build()
        for path in paths:
            with whole_file(path) as draft:
                if path.suffix == ".png":
                    _save_png(figure, draft)
                else:  # without a date and with a fixed salt the same content gives the same file
                    figure.savefig(draft, dpi=DPI, metadata={"Date": None} if path.suffix == ".svg" else None)


@cache
def house_style() -> dict[str, Any]:
    """STYLE on matplotlib's defaults, so that a personal matplotlibrc changes nothing; 300 settings, checked once."""
    with matplotlib.style.context(["default", STYLE]):
        return dict(matplotlib.rcParams)


@cache
def formulas() -> Any:
    """What lays out mathematics, one for all figures: it remembers what it has parsed."""
    return FigureCanvasAgg(Figure()).get_renderer().mathtext_parser


def _save_png(figure: Figure, path: Path) -> None:
    """What `savefig` writes, in four fifths of the time: it draws everything twice, to lay out and then to paint."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.get_renderer().mathtext_parser = formulas()
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # nothing shines through
    image.save(path, "png", dpi=(DPI, DPI), compress_level=PNG_EFFORT)


def sheet(name: str, size: tuple[float, float], rows: int = 1, columns: int = 1, **between: Any) -> Figure:
    """A figure of `rows` × `columns` empty axes, `size` in inches. Each call with a name begins the same one anew.

    A third of the time that a figure takes goes into its axes and their ticks, and a process that writes the files of
    many runs draws the same five again and again.
    """
    figure = _blank(name, size, rows, columns, **between)
    if figure.get_layout_engine() is not None:  # matplotlib gives it the style's when it has saved an SVG
        _blank.cache_clear()
        figure = _blank(name, size, rows, columns, **between)
    for legend in list(figure.legends):
        legend.remove()
    for axes in figure.axes:
        for artist in [*axes.lines, *axes.patches, *axes.collections, *axes.images, *axes.texts, axes.get_legend()]:
            if artist is not None:
                artist.remove()
        axes.containers.clear()  # of bars and error bars, which a legend would still show
        axes.relim()
        axes.set_autoscale_on(True)
    return figure


@cache
def _blank(name: str, size: tuple[float, float], rows: int, columns: int, **between: Any) -> Figure:
    figure = Figure(figsize=size, layout="none")
    figure.subplots(rows, columns, **between)
    return figure


def only_words(size: tuple[float, float], text: str) -> Figure:
    """A figure of `size`, in inches, that says why there is nothing to draw."""
    figure = Figure(figsize=size, layout="none")
    say(figure.subplots(), text)
    return figure


def laid_out(figure: Figure, left: float, right: float, bottom: float, top: float, **between: float) -> Figure:
    """Give the axes these margins, in inches: to find them out takes matplotlib as long as to draw everything."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height, **between)
    return figure


def say(axes: Axes, text: str) -> None:
    """Words in the place of a plot that cannot be drawn."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=GREY)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
