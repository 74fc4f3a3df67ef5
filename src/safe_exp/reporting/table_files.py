"""Files of a table: CSV for programs, Markdown for a README, LaTeX (booktabs) for a paper."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

from safe_exp.reporting.latex import to_latex
from safe_exp.reporting.statistics import Summary
from safe_exp.reporting.tables import Table, is_numeric
from safe_exp.system.csv_cells import to_cell
from safe_exp.system.files import whole_file

SUMMARY_PARTS = ("mean", "sd", "low", "high", "n")


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write folder/<name>.csv, .md and .tex, each whole or not at all, and return their paths.

    Raises:
        UnwritableFile: a file cannot be written.
    """
    content = {"csv": to_csv_rows(table), "md": to_markdown(table), "tex": to_latex(table)}
    paths = []
    for suffix, body in content.items():
        paths.append(folder / f"{table.name}.{suffix}")
        with whole_file(paths[-1]) as draft, open(draft, "w", newline="", encoding="utf-8") as handle:
            if isinstance(body, str):
                handle.write(body)
            else:
                csv.writer(handle).writerows(body)
    return paths


def to_csv_rows(table: Table) -> list[list[Any]]:
    """List the rows of the CSV file, in full precision.

    A column of Summary becomes <key>_mean, _sd, _low, _high and _n. Unknown values stay empty.
    """
    header: list[Any] = []
    wide = [any(isinstance(row.get(column.key), Summary) for row in table.rows) for column in table.columns]
    for column, is_summary in zip(table.columns, wide, strict=True):
        header += [f"{column.key}_{part}" for part in SUMMARY_PARTS] if is_summary else [column.key]
    rows = [header]
    for row in table.rows:
        cells: list[Any] = []
        for column, is_summary in zip(table.columns, wide, strict=True):
            value = row.get(column.key)
            cells += _summary_cells(value) if is_summary else [value]
        rows.append(["" if cell is None else to_cell(cell) for cell in cells])
    return rows


def to_markdown(table: Table) -> str:
    """Write a table in Markdown, with its title above and its note below."""
    aligned = ["---:" if is_numeric(table, column) else "---" for column in table.columns]
    lines = [_markdown_row([escape_markdown(column.label) for column in table.columns]), _markdown_row(aligned)]
    for row in table.rows:
        lines.append(_markdown_row([escape_markdown(table.text(row, column)) for column in table.columns]))
    note = f"\n{escape_markdown(table.note)}\n" if table.note else ""
    return f"**{escape_markdown(table.title)}**\n\n" + "\n".join(lines) + "\n" + note


def escape_markdown(text: str) -> str:
    """Escape all that Markdown, or HTML inside it, would read as more than text."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$])", r"\\\1", " ".join(text.split()))


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _summary_cells(value: Any) -> list[Any]:
    """List the SUMMARY_PARTS of a cell."""
    if not isinstance(value, Summary):  # a number among summaries, such as the paper's, counts as a mean
        return [value, *[None] * (len(SUMMARY_PARTS) - 1)]
    return [getattr(value, part) for part in SUMMARY_PARTS]
