"""Tables in LaTeX with booktabs, in as many parts as fit the pages of a paper."""

from __future__ import annotations

import textwrap
from typing import Any

from safe_exp.reporting.statistics import Summary
from safe_exp.reporting.tables import Column, Table, end_with_stop, is_numeric

LINE_CHARACTERS = 88  # of \footnotesize across a page of LaTeX's article class
GAP_CHARACTERS = 3  # between two columns
HEAD_CHARACTERS = 12  # in one line of a column's head
MOST_TALL_ROWS = 24  # a table with more rows has one line in each cell, so that a part fits the height of a page
MOST_ROWS = 50  # in one part

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "±": r"$\pm$", "×": r"$\times$", "−": r"$-$", "–": "--",
    "≥": r"$\geq$", "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "…": r"\ldots{}", "↓": r"$\downarrow$",
}  # fmt: skip


def to_latex(table: Table) -> str:
    r"""Write a table as table environments, which need \usepackage{booktabs} only."""
    rows = [table.rows[start : start + MOST_ROWS] for start in range(0, len(table.rows), MOST_ROWS)] or [[]]
    parts = [(columns, some) for some in rows for columns in _split_columns(table)]
    return "\n".join(_environment(table, *part, number, len(parts)) for number, part in enumerate(parts, 1))


def _split_columns(table: Table) -> list[list[Column]]:
    """Divide the columns into parts that fit the width of a page; each part begins with the key columns."""
    keys, others = table.columns[: table.keys], table.columns[table.keys :]
    room = LINE_CHARACTERS - sum(_width(table, column) for column in keys)
    parts: list[list[Column]] = [[]]
    used = 0
    for column in others:
        width = _width(table, column)
        if parts[-1] and used + width > room:
            parts.append([])
            used = 0
        parts[-1].append(column)
        used += width
    return [[*keys, *part] for part in parts]


def _width(table: Table, column: Column) -> int:
    """Count the characters across a column, its gap included."""
    lines = [*_head(column), *(line for row in table.rows for line in _cell(table, row, column))]
    return max(map(len, lines)) + GAP_CHARACTERS


def _head(column: Column) -> list[str]:
    """Break a column's label into lines."""
    return textwrap.wrap(column.label, HEAD_CHARACTERS, break_long_words=False)


def _cell(table: Table, row: dict[str, Any], column: Column) -> list[str]:
    """Break a cell into lines: an interval is below its mean."""
    text = table.text(row, column)
    if isinstance(row.get(column.key), Summary) and " [" in text:
        mean, _, interval = text.partition(" [")
        return [mean] if len(table.rows) > MOST_TALL_ROWS else [mean, f"[{interval}"]
    return [text]


def _environment(table: Table, columns: list[Column], rows: list[dict[str, Any]], number: int, parts: int) -> str:
    """Write one part of a table as a table environment."""
    caption = " ".join(filter(None, [end_with_stop(table.title), table.note]))
    values = [value for row in table.rows for value in row.values()]
    if len(table.rows) > MOST_TALL_ROWS and any(
        isinstance(value, Summary) and value.low is not None for value in values
    ):
        caption += f" The intervals are in {table.name}.csv."
    if parts > 1:
        caption = f"{caption} (Part 1 of {parts}.)" if number == 1 else f"{table.title} (part {number} of {parts})."
    alignment = "".join("r" if is_numeric(table, column) else "l" for column in columns)
    body = [" & ".join(_stacked(_cell(table, row, column)) for column in columns) for row in rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\footnotesize",
            rf"\caption{{{escape_latex(caption)}}}",
            rf"\label{{tab:{table.name}{f'-{number}' if number > 1 else ''}}}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            " & ".join(_stacked(_head(column)) for column in columns) + r" \\",
            r"\midrule",
            *(line + r" \\" for line in body),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _stacked(lines: list[str]) -> str:
    """Write the lines of a cell below each other."""
    if len(lines) == 1:
        return escape_latex(lines[0])
    stack = r" \\ ".join(map(escape_latex, lines))
    return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{stack}\end{{tabular}}"


def escape_latex(text: str) -> str:
    """Escape all that LaTeX would read as more than text."""
    # A line that begins with "[" would be read as the argument of the \\ before it; braces prevent that.
    escaped = "".join(LATEX.get(character, character) for character in " ".join(text.split()))
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped
