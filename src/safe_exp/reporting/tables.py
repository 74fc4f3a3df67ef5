"""A table as CSV for programs, Markdown for a README, LaTeX (booktabs) for a paper."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safe_exp.files import whole_file
from safe_exp.reporting.statistics import Summary

NOTHING = "–"
SUMMARY_PARTS = ("mean", "sd", "low", "high", "n")


@dataclass(frozen=True)
class Column:
    key: str  # in the rows, and at the head of the CSV
    label: str  # what people read
    decimals: int = 3
    smallest: float | None = None  # a smaller number is shown as "< smallest": no p-value is 0


@dataclass(frozen=True)
class Table:
    name: str  # of its files
    title: str
    columns: list[Column]
    rows: list[dict[str, Any]]  # text, numbers, Summary or None
    note: str = ""
    keys: int = 1  # columns, from the left, that say what a row is about

    def text(self, row: dict[str, Any], column: Column) -> str:
        """The cell as people read it; numbers rounded, a Summary as mean ± sd [interval]."""
        value = row.get(column.key)
        if isinstance(value, Summary):
            return _summary_text(value, column.decimals)
        if column.smallest is not None and isinstance(value, float) and value < column.smallest:
            return f"< {column.smallest:g}"
        if isinstance(value, float):
            return f"{value:.{column.decimals}f}"
        return NOTHING if value is None else str(value)

    def number(self, row: dict[str, Any], column: Column) -> float | None:
        """What the cell is sorted by, if it holds a number."""
        value = row.get(column.key)
        value = value.mean if isinstance(value, Summary) else value
        return float(value) if isinstance(value, int | float) else None


def write_table(table: Table, folder: Path) -> list[Path]:
    """folder/<name>.csv, .md and .tex, each whole or not at all."""
    from safe_exp.reporting.latex import to_latex

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
    """Full precision; a column of Summary becomes <key>_mean, _sd, _low, _high, _n; what is not known stays empty."""
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
        rows.append(["" if cell is None else cell for cell in cells])
    return rows


def to_markdown(table: Table) -> str:
    aligned = ["---:" if is_numeric(table, column) else "---" for column in table.columns]
    lines = [_markdown_row([escape_markdown(column.label) for column in table.columns]), _markdown_row(aligned)]
    for row in table.rows:
        lines.append(_markdown_row([escape_markdown(table.text(row, column)) for column in table.columns]))
    note = f"\n{escape_markdown(table.note)}\n" if table.note else ""
    return f"**{escape_markdown(table.title)}**\n\n" + "\n".join(lines) + "\n" + note


def escape_markdown(text: str) -> str:
    """Everything that Markdown, or the HTML that it may hold, would read as more than text."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$])", r"\\\1", " ".join(text.split()))


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def is_numeric(table: Table, column: Column) -> bool:
    return any(table.number(row, column) is not None for row in table.rows)


def _summary_cells(value: Any) -> list[Any]:
    if not isinstance(value, Summary):  # one number among summaries, as the paper's, stands for a mean
        return [value, *[None] * (len(SUMMARY_PARTS) - 1)]
    return [getattr(value, part) for part in SUMMARY_PARTS]


def _summary_text(summary: Summary, decimals: int) -> str:
    if summary.mean is None:
        return NOTHING
    text = f"{summary.mean:.{decimals}f}"
    if summary.sd is not None:
        text += f" ± {summary.sd:.{decimals}f}"
    if summary.low is not None:
        text += f" [{summary.low:.{decimals}f}, {summary.high:.{decimals}f}]"
    return text
