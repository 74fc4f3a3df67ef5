"""The HTML page of a report: one file that needs no other, in which only our own script runs.

The template escapes every value. A Content-Security-Policy also allows only our own script and style, by their hashes,
and no request, so that a value that is not escaped could do no harm.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from safe_exp.reporting.case_study import Case, shorten, thumbnail
from safe_exp.reporting.conditions import Study
from safe_exp.reporting.statistics import Summary
from safe_exp.reporting.sweep_figures import DrawnFigure
from safe_exp.reporting.sweep_tables import WON
from safe_exp.reporting.tables import Column, Table, end_with_stop
from safe_exp.runs.job_outcome import Job

HERE = Path(__file__).parent
LARGEST_SVG_BYTES = 1_000_000  # of a figure in the page; a larger one is shown as PNG
MOST_UNFINISHED = 200  # jobs listed one by one
NO_CASES = (
    "No finished job compares text with image, or its predictions.csv is gone: there are no similarities to show."
)


def render_page(
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
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    unfinished = [job for job in study.sweep.jobs if job.state != "finished"]
    return environment.get_template(
        "index.html.j2"
    ).render(
        name=study.sweep.folder.name,
        style=Markup(style),  # not escaped, since it is our own text
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        counts=study.sweep.counts,
        total=len(study.sweep.jobs),
        summary=summary,
        tables=[_table(table) for table in tables],
        figures=[
            {
                "title": end_with_stop(figure.drawing.title),
                "caption": figure.drawing.caption,
                "source": _image(figure.png, figure.svg),
                "name": figure.png.stem,
            }
            for figure in figures
        ],
        unfinished=[_unfinished(job) for job in unfinished[:MOST_UNFINISHED]],
        unlisted=max(0, len(unfinished) - MOST_UNFINISHED),
        started_in=str(study.sweep.finished[0].started_in),
        cases={heading: [_case(case) for case in found] for heading, found in cases.items()},
        scored_by=scored_by,
        at_hand=any(case.content for found in cases.values() for case in found),
        no_cases=NO_CASES,
        footer=footer,
    )


def _table(table: Table) -> dict[str, Any]:
    """Convert a table for the template."""
    rows = [
        {"marked": row.get(WON, False), "cells": [_cell(table, row, column) for column in table.columns]}
        for row in table.rows
    ]
    note = table.note + (" The shaded row won." if any(row["marked"] for row in rows) and len(rows) > 1 else "")
    columns = [
        {"label": column.label or "whose", "number": any(row["cells"][place]["number"] is not None for row in rows)}
        for place, column in enumerate(table.columns)
    ]
    return {"name": table.name, "title": table.title, "columns": columns, "rows": rows, "note": note}


def _cell(table: Table, row: dict[str, Any], column: Column) -> dict[str, Any]:
    """Convert a cell for the template: its text, the lines below it, and the number that it is sorted by."""
    text, spread, value = table.text(row, column), [], row.get(column.key)
    if isinstance(value, Summary):  # sd and interval are put below the mean, since a dozen such columns are too wide
        text, *spread = re.split(r" (?=[±\[])", text)
    number = table.number(row, column)
    if number is None and isinstance(value, str):
        with suppress(ValueError):  # a swept value is shown as it was typed, and sorted as a number
            number = float(value)
    return {"text": text, "spread": spread, "number": number}


def _unfinished(job: Job) -> dict[str, Any]:
    """Convert an unfinished job for the template."""
    overrides = " ".join(f"{key}={value}" for key, value in job.overrides.items())
    return {
        "number": job.number, "state": job.state, "reason": job.reason, "command": job.command(),
        "overrides": overrides or "(its overrides are not known)",
    }  # fmt: skip


def _case(case: Case) -> dict[str, Any]:
    """Convert an example article for the template."""
    content = case.content
    verdict = "fake" if case.called_fake else "real"
    return {
        "id": case.id,
        "title": (content.title or "(no title)") if content else case.id,
        "text": shorten(content.text) if content else "",
        "caption": content.caption if content else None,
        "image": thumbnail(content.image) if content and content.image else None,
        "has_content": content is not None,
        "similarity": f"{case.similarity:.3f}",
        "probability": f"{case.probability:.3f}",
        "truth": "fake" if case.label else "real",
        "verdict": f"{verdict}, {'right' if case.right else 'wrong'}",
        "right": case.right,
    }


def _image(png: Path, svg: Path) -> str:
    """Write a figure as a data URI, as SVG unless that is too large."""
    path, kind = (svg, "svg+xml") if svg.stat().st_size <= LARGEST_SVG_BYTES else (png, "png")
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _hash(text: str) -> str:
    """Compute the hash of a script or style, as a Content-Security-Policy writes it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
