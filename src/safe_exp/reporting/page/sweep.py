"""The page of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from safe_exp.reporting.case_study import Case
from safe_exp.reporting.conditions import Study
from safe_exp.reporting.page import case_content, figure_content, render, table_content
from safe_exp.reporting.sweep_figures import DrawnFigure
from safe_exp.reporting.tables import Table
from safe_exp.runs.job_outcome import Job

LARGEST_SVG_BYTES = 1_000_000  # of a figure in the page; a larger one is shown as PNG
MOST_UNFINISHED = 200  # jobs listed one by one
NO_CASES = (
    "No finished job compares text with image, or its predictions.csv is gone: there are no similarities to show."
)


def render_sweep_page(
    study: Study,
    summary: Sequence[str],
    tables: Sequence[Table],
    figures: Sequence[DrawnFigure],
    cases: Mapping[str, Sequence[Case]],
    scored_by: str,
    footer: str,
) -> str:
    """Write the page as HTML.

    Args:
        summary: sentences without markup.
        cases: articles by heading, as from choose_cases; may be empty.
        scored_by: label of the condition that scored these articles.
        footer: the line at the foot of the page.
    """
    unfinished = [job for job in study.sweep.jobs if job.state != "finished"]
    parts = {"summary": "Summary", "tables": "Tables"}
    parts |= {"figures": "Figures"} if figures else {}
    parts |= {"unfinished": "Unfinished jobs"} if unfinished else {}
    return render(
        "sweep.html.j2",
        parts | {"cases": "Articles"},
        name=study.sweep.folder.name,
        counts=study.sweep.counts,
        total=len(study.sweep.jobs),
        summary=summary,
        tables=[table_content(table) for table in tables],
        figures=[_figure(figure) for figure in figures],
        unfinished=[_unfinished(job) for job in unfinished[:MOST_UNFINISHED]],
        unlisted=max(0, len(unfinished) - MOST_UNFINISHED),
        started_in=str(study.sweep.finished[0].started_in),
        cases={heading: [case_content(case) for case in found] for heading, found in cases.items()},
        scored_by=scored_by,
        at_hand=any(case.content for found in cases.values() for case in found),
        no_cases=NO_CASES,
        footer=footer,
    )


def _figure(figure: DrawnFigure) -> dict[str, Any]:
    """Convert a figure for the template, as SVG unless that is too large."""
    path = figure.svg if figure.svg.stat().st_size <= LARGEST_SVG_BYTES else figure.png
    return figure_content(figure.drawing.title, figure.drawing.caption, path)


def _unfinished(job: Job) -> dict[str, Any]:
    """Convert an unfinished job for the template."""
    overrides = " ".join(f"{key}={value}" for key, value in job.overrides.items())
    return {
        "number": job.number, "state": job.state, "reason": job.reason, "command": job.command(),
        "overrides": overrides or "(its overrides are not known)",
    }  # fmt: skip
