"""Tables: columns, rows, and the text of their cells. table_files.py writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from safe_exp.reporting.statistics import Summary

NOTHING = "–"


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    key: str  # in the rows, and in the head of the CSV file
    label: str  # the heading that people read
    decimals: int = 3
    smallest: float | None = None  # smaller numbers are shown as "< smallest", since no p-value is 0
    sorted_by_number: bool = True  # in the page, if a text is a number


@dataclass(frozen=True)
class Table:
    """A table of a report."""

    name: str  # of its files, without a suffix
    title: str
    columns: list[Column]
    rows: list[dict[str, Any]]  # text, numbers, Summary or None
    note: str = ""
    keys: int = 1  # number of columns, from the left, that identify a row

    def text(self, row: dict[str, Any], column: Column) -> str:
        """Write a cell for people: numbers rounded, a Summary as mean ± sd [interval]."""
        value = row.get(column.key)
        if isinstance(value, Summary):
            return _summary_text(value, column.decimals)
        if column.smallest is not None and isinstance(value, float) and value < column.smallest:
            return f"< {column.smallest:g}"
        if isinstance(value, float):
            return f"{value:.{column.decimals}f}"
        return NOTHING if value is None else str(value)

    def number(self, row: dict[str, Any], column: Column) -> float | None:
        """Return the number that a cell is sorted by, a Summary's mean; None if it holds none."""
        value = row.get(column.key)
        value = value.mean if isinstance(value, Summary) else value
        return float(value) if isinstance(value, int | float) else None


def is_numeric(table: Table, column: Column) -> bool:
    """Return True if a cell of the column holds a number."""
    return any(table.number(row, column) is not None for row in table.rows)


def end_with_stop(title: str) -> str:
    """Add a full stop to a title that has no mark at its end."""
    return title if title.endswith((".", "?", "!")) else f"{title}."


def _summary_text(summary: Summary, decimals: int) -> str:
    """Write a Summary as mean ± sd [interval], as far as these are known."""
    if summary.mean is None:
        return NOTHING
    text = f"{summary.mean:.{decimals}f}"
    if summary.sd is not None:
        text += f" ± {summary.sd:.{decimals}f}"
    if summary.low is not None:
        text += f" [{summary.low:.{decimals}f}, {summary.high:.{decimals}f}]"
    return text
