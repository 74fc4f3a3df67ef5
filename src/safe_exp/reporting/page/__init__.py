"""The HTML pages of reports: each is one file that needs no other, in which only our own script runs.

The template escapes every value. A Content-Security-Policy also allows only our own script and style, by their hashes,
and no request, so that a value that is not escaped could do no harm.

    sweep.py   the page of a sweep
    run.py     the page of one run
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from safe_exp.reporting.case_study import Case, shorten, thumbnail
from safe_exp.reporting.statistics import Summary
from safe_exp.reporting.sweep_tables import WON
from safe_exp.reporting.tables import Column, Table, end_with_stop

HERE = Path(__file__).parent


def render(template: str, parts: Mapping[str, str], **content: Any) -> str:
    """Render a page that extends base.html.j2.

    Args:
        template: its file.
        parts: headings of the page's parts by their ids, for the links at the top.
        content: the values of the template.
    """
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return environment.get_template(template).render(
        parts=parts,
        style=Markup(style),  # not escaped, since it is our own text
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        **content,
    )


def table_content(table: Table) -> dict[str, Any]:
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


def figure_content(title: str, caption: str, path: Path) -> dict[str, Any]:
    """Convert a figure for the template.

    Args:
        path: of the PNG or SVG file that is put into the page.
    """
    return {"title": end_with_stop(title), "caption": caption, "source": _image(path), "name": path.stem}


def made_by() -> str:
    """Write the line at the foot of the page."""
    return f"Made by safe_exp on {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}."


def case_content(case: Case) -> dict[str, Any]:
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


def _cell(table: Table, row: dict[str, Any], column: Column) -> dict[str, Any]:
    """Convert a cell for the template: its text, the lines below it, and the number that it is sorted by."""
    text, spread, value = table.text(row, column), [], row.get(column.key)
    if isinstance(value, Summary):  # sd and interval are put below the mean, since a dozen such columns are too wide
        text, *spread = re.split(r" (?=[±\[])", text)
    number = table.number(row, column)
    if number is None and isinstance(value, str) and column.sorted_by_number:
        with suppress(ValueError):  # a swept value is shown as it was typed, and sorted as a number
            number = float(value)
    return {"text": text, "spread": spread, "number": number}


def _image(path: Path) -> str:
    """Write a PNG or SVG file as a data URI."""
    kind = {".svg": "svg+xml", ".png": "png"}[path.suffix]
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _hash(text: str) -> str:
    """Compute the hash of a script or style, as a Content-Security-Policy writes it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
