"""The page of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safe_exp.figures.files import FIGURES
from safe_exp.reporting.page import figure_content, render, table_content
from safe_exp.reporting.tables import Table


def render_run_page(
    name: str,
    summary: Sequence[str],
    results: Sequence[Table],
    figures: Mapping[str, Path],
    given: Sequence[Table],
    settings: Sequence[Table],
    footer: str,
) -> str:
    """Write the page as HTML.

    Args:
        name: of the run.
        summary: sentences without markup.
        figures: PNG files by name, each one of FIGURES.
        given: tables of the run's start, shown at once.
        settings: tables of everything else that was set, shown on a click.
        footer: the line at the foot of the page.
    """
    return render(
        "run.html.j2",
        {"summary": "Summary", "results": "Results", "figures": "Figures", "settings": "Settings"},
        name=name,
        summary=summary,
        results=[table_content(table) for table in results],
        figures=[figure_content(*FIGURES[name], path) for name, path in figures.items()],
        given=[table_content(table) for table in given],
        settings=[table_content(table) for table in settings],
        footer=footer,
    )
