"""A table for a paper: LaTeX with booktabs, in as many parts as it takes to fit the width of a page."""

from __future__ import annotations

import textwrap
from typing import Any

from safe_exp.reporting.statistics import Summary
from safe_exp.reporting.tables import Column, Table, is_numeric

LINE = 88  # characters of \footnotesize across a page of LaTeX's article class
GAP = 3  # characters between two columns
HEAD = 12  # characters of a column's head before it takes another line
TALL = 24  # rows from which a cell has one line, so that a part fits the height of a page
ROWS = 50  # in one part

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "±": r"$\pm$", "×": r"$\times$", "−": r"$-$", "–": "--",
    "≥": r"$\geq$", "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "…": r"\ldots{}", "↓": r"$\downarrow$",
}  # fmt: skip


def to_latex(table: Table) -> str:
    r"""Table environments that need \usepackage{booktabs} and nothing else."""
    rows = [table.rows[start : start + ROWS] for start in range(0, len(table.rows), ROWS)] or [[]]
    parts = [(columns, some) for some in rows for columns in _columns_of_parts(table)]
    return "\n".join(_environment(table, *part, number, len(parts)) for number, part in enumerate(parts, 1))


def _columns_of_parts(table: Table) -> list[list[Column]]:
    """The columns of each part; what a row is about stands in every one."""
    keys, others = table.columns[: table.keys], table.columns[table.keys :]
    room = LINE - sum(_width(table, column) for column in keys)
    parts, used = [[]], 0
    for column in others:
        width = _width(table, column)
        if parts[-1] and used + width > room:
            parts.append([])
            used = 0
        parts[-1].append(column)
        used += width
    return [[*keys, *part] for part in parts]


def _width(table: Table, column: Column) -> int:
    lines = [*_head(column), *(line for row in table.rows for line in _cell(table, row, column))]
    return max(map(len, lines)) + GAP


def _head(column: Column) -> list[str]:
    return textwrap.wrap(column.label, HEAD, break_long_words=False)


def _cell(table: Table, row: dict[str, Any], column: Column) -> list[str]:
    """Its lines: an interval stands below its mean."""
    text = table.text(row, column)
    if isinstance(row.get(column.key), Summary) and " [" in text:
        mean, _, interval = text.partition(" [")
        return [mean] if len(table.rows) > TALL else [mean, f"[{interval}"]
    return [text]


def _environment(table: Table, columns: list[Column], rows: list[dict[str, Any]], number: int, parts: int) -> str:
    caption = " ".join(filter(None, [_sentence(table.title), table.note]))
    values = [value for row in table.rows for value in row.values()]
    if len(table.rows) > TALL and any(isinstance(value, Summary) and value.low is not None for value in values):
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
    if len(lines) == 1:
        return escape_latex(lines[0])
    stack = r" \\ ".join(map(escape_latex, lines))
    return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{stack}\end{{tabular}}"


def escape_latex(text: str) -> str:
    # A line that begins with "[" would be read as the argument of the \\ before it; braces hide it.
    escaped = "".join(LATEX.get(character, character) for character in " ".join(text.split()))
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
