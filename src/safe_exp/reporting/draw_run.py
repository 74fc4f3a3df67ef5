"""The figures of one run, drawn on request."""

from __future__ import annotations

import logging
from pathlib import Path

from safe_exp.figures.of_a_run import draw_figures_of_finished
from safe_exp.system.files import short_path

log = logging.getLogger(__name__)


def draw_run(given: str) -> list[Path]:
    """Write the figures of a finished run into DIR/figures/, and return their paths.

    Args:
        given: the folder DIR, as the user gave it.
    Raises:
        UserError: there is no finished run in it, or a file of it is missing or damaged.
        UnwritableFile: a figure cannot be written.
    """
    folder = Path(given).expanduser()
    paths = list(draw_figures_of_finished(folder).values())
    log.info("Figures of the run: %s", ", ".join(path.name for path in paths))
    log.info("They are in %s", short_path(folder / "figures"))
    return paths
