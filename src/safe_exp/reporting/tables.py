"""A table as CSV for programs, Markdown for a README, LaTeX (booktabs) for a paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from safe_exp.reporting.statistics import Summary

NOTHING = "–"


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


def is_numeric(table: Table, column: Column) -> bool:
    return any(table.number(row, column) is not None for row in table.rows)


def _summary_text(summary: Summary, decimals: int) -> str:
    if summary.mean is None:
        return NOTHING
    text = f"{summary.mean:.{decimals}f}"
    if summary.sd is not None:
        text += f" ± {summary.sd:.{decimals}f}"
    if summary.low is not None:
        text += f" [{summary.low:.{decimals}f}, {summary.high:.{decimals}f}]"
    return text
