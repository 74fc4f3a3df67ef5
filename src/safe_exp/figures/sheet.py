"""Sheets to draw figures on: the style, reused axes, margins, and the files.

The colours are Okabe and Ito's, which people with any colour vision can distinguish.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from safe_exp.system.files import whole_file

if TYPE_CHECKING:  # older versions of matplotlib lack the name
    from matplotlib.typing import RcKeyType

BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"
DPI = 150
PNG_EFFORT = 2  # of 9; more takes longer than it is worth for files of 50 kB
STYLE: dict[RcKeyType, Any] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titley": 1.0,  # otherwise each title is placed by measuring everything around it
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
    """Draw a figure once, in STYLE, and write it to each path in the format of its suffix.

    Raises:
        UnwritableFile: a file cannot be written.
    """
    now = matplotlib.rcParams
    changed = {name: value for name, value in _full_style().items() if now[name] != value}  # each costs a check
    with matplotlib.rc_context(changed):  # no pyplot, so no global figures
        figure = build()
        for path in paths:
            with whole_file(path) as draft:
                if path.suffix == ".png":
                    _save_png(figure, draft)
                else:  # without a date and with a fixed salt the same content gives the same file
                    figure.savefig(draft, dpi=DPI, metadata={"Date": None} if path.suffix == ".svg" else None)


@cache
def _full_style() -> dict[RcKeyType, Any]:
    """Return STYLE on top of matplotlib's defaults, so that a personal matplotlibrc changes nothing."""
    with matplotlib.style.context(["default", STYLE]):  # type: ignore[list-item]  # the stub knows no RcKeyType
        return dict(matplotlib.rcParams)


@cache
def _formula_parser() -> Any:
    """Return the parser of mathematical text that all figures share, since it caches what it has parsed."""
    return FigureCanvasAgg(Figure()).get_renderer().mathtext_parser


def _save_png(figure: Figure, path: Path) -> None:
    """Write the same image as `savefig` in four fifths of the time: `savefig` draws twice, to lay out and to paint."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.get_renderer().mathtext_parser = _formula_parser()
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # the figure has no transparent part
    image.save(path, "png", dpi=(DPI, DPI), compress_level=PNG_EFFORT)


def sheet(name: str, size: tuple[float, float], rows: int = 1, columns: int = 1, **subplots: Any) -> Figure:
    """Return a figure with `rows` × `columns` empty axes.

    Calls with the same arguments clear and reuse one figure. Making the axes and their ticks takes a third of the
    time of a figure, and a process that writes the files of many runs draws the same five figures again and again.

    Args:
        name: keeps figures of different content apart.
        size: width and height in inches.
        subplots: further arguments of Figure.subplots.
    """
    figure = _blank(name, size, rows, columns, **subplots)
    if figure.get_layout_engine() is not None:  # saving an SVG gives a figure the layout engine of the style
        _blank.cache_clear()
        figure = _blank(name, size, rows, columns, **subplots)
    for legend in list(figure.legends):
        legend.remove()
    for axes in figure.axes:
        for artist in [*axes.lines, *axes.patches, *axes.collections, *axes.images, *axes.texts, axes.get_legend()]:
            if artist is not None:
                artist.remove()
        axes.containers.clear()  # bars and error bars, which a legend would still show
        axes.relim()
        axes.set_autoscale_on(True)
    return figure


@cache
def _blank(name: str, size: tuple[float, float], rows: int, columns: int, **subplots: Any) -> Figure:
    """Make the figure of `sheet`; `name` only tells equal ones apart in the cache."""
    figure = Figure(figsize=size, layout="none")  # type: ignore[arg-type]  # documented, missing in the stub
    figure.subplots(rows, columns, **subplots)
    return figure


def text_figure(size: tuple[float, float], text: str) -> Figure:
    """Draw a figure of `size`, in inches, whose text explains why there is nothing to show."""
    figure = Figure(figsize=size, layout="none")  # type: ignore[arg-type]  # documented, missing in the stub
    replace_plot(figure.subplots(), text)
    return figure


def set_margins(figure: Figure, left: float, right: float, bottom: float, top: float, **spaces: float) -> Figure:
    """Set the margins around the axes, in inches, and return the figure.

    Matplotlib would take as long to find margins as to draw everything.

    Args:
        spaces: wspace and hspace, the gaps between axes as shares of their width and height.
    """
    width, height = figure.get_size_inches()
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height, **spaces)
    return figure


def replace_plot(axes: Axes, text: str) -> None:
    """Write a text in the place of a plot that cannot be drawn."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=GREY)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
