"""Rows of CSV-like files, in the dialect that is found or given."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from safe_exp.data.reading.dialect_choice import Choice, Doubt, choose_quoting
from safe_exp.data.reading.dialects import DELIMITERS, Dialect, Line, Record, split_line
from safe_exp.data.reading.text_files import TextFormat, find_format
from safe_exp.data.reading.untrusted import UnusableArticle
from safe_exp.system.errors import UserError

MOST_HEADER_LINES = 20  # a name with more line breaks begins with a stray mark
_SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=(.)"?[\r\n]*', re.IGNORECASE)  # Excel's own first line
_LINE_BREAKS = re.compile(r"\s*[\r\n]+\s*")
log = logging.getLogger(__name__)

ColumnCheck = Callable[[list[str]], None]  # raises a UserError if the columns that are there do not suffice


class _Layout(NamedTuple):
    """Place where the rows of a file begin, and their dialect."""

    dialect: Dialect
    names: list[str]  # of the columns
    header_lines: int  # above the first row
    records: int | None  # rows that the choice of the dialect counted; None: the dialect was given


def delimited_rows(
    path: Path, root: str, check_columns: ColumnCheck, dialect: str | None, known: Mapping[str, frozenset[str]]
) -> Iterator[tuple[int, Any]]:
    """Yield number and cells of each row, or the UnusableArticle of a row that is damaged.

    Args:
        dialect: one of DIALECTS; None: it is told from the file.
        known: values that are expected in a column, in lower case, by its name.
    Raises:
        UserError: the columns do not suffice, no dialect fits, or the file changed meanwhile.
    """
    form = find_format(path, root)
    layout = _find_layout(path, root, form, check_columns, dialect, known)
    names, rows, torn, torn_lines = layout.names, 0, 0, 0
    for number, record in enumerate(layout.dialect.records(_lines(path, form, layout.header_lines)), 1):
        if record.blank:
            continue
        rows += 1
        fault = _fault(record, layout)
        if fault is not None:
            torn, torn_lines = torn + (len(record.lines) > 1), torn_lines + len(record.lines) * (len(record.lines) > 1)
            yield number, fault
        else:
            yield number, dict(zip(names, map(form.restore, record.cells), strict=True))
    if dialect is not None and torn:
        _warn_of_torn_rows(path.name, dialect, torn, torn_lines)
    if layout.records not in (None, rows):
        raise UserError(
            f"data.root={root}: {path.name} had {layout.records} rows, and {rows} when they were read. Run the command "
            "again when nothing writes there any more."
        )


def _fault(record: Record, layout: _Layout) -> UnusableArticle | None:
    where = f"line {record.line}: "
    if record.fault:
        return UnusableArticle("row cannot be read", where + record.fault)
    if len(record.cells) != len(layout.names):
        found = f"{len(record.cells)} cells, expected {len(layout.names)}"
        return UnusableArticle("row has too few or too many cells", where + found)
    if layout.dialect.quoted and len(record.lines) > 1 and not record.well_formed:
        return UnusableArticle("quotation marks do not match", f"{where}it goes on for {len(record.lines)} lines")
    return None


def _find_layout(
    path: Path,
    root: str,
    form: TextFormat,
    check_columns: ColumnCheck,
    dialect: str | None,
    known: Mapping[str, frozenset[str]],
) -> _Layout:
    """Read the header, and tell the dialect unless it is given.

    Raises:
        UserError: the columns do not suffice, or no dialect fits.
    """
    separator = _separator(path, form)
    if dialect is not None:
        chosen = Dialect.named(dialect)
        names, lines = _read_names(path, form, chosen, separator is not None)
        check_columns(names)
        return _Layout(chosen, names, lines, None)
    headers = {
        delimiter: _read_names(path, form, Dialect(delimiter, True), separator is not None)
        for delimiter in ([separator] if separator else DELIMITERS.values())
    }
    left = [delimiter for delimiter, (names, _) in headers.items() if _suffices(names, check_columns)]
    if not left:
        widest = max(headers.values(), key=lambda header: len(header[0]))
        check_columns(widest[0])  # raises
    wide = [delimiter for delimiter in left if len(headers[delimiter][0]) > 1]
    status = path.stat()
    choices = [
        _choose(path, form, headers[delimiter][1], delimiter, tuple(headers[delimiter][0]), tuple(known.items()),
                status.st_size, status.st_mtime_ns)
        for delimiter in wide or left
    ]  # fmt: skip
    choice = max(choices, key=lambda choice: choice.fitting)
    names, lines = headers[choice.dialect.delimiter]
    if choice.doubt is not None:
        raise UserError(_explain_doubt(path, root, choice.dialect, choice.doubt))
    _say(path, choice.dialect, form, status.st_size, status.st_mtime_ns)
    return _Layout(choice.dialect, names, lines, choice.records)


def _lines(path: Path, form: TextFormat, skipped: int) -> Iterator[Line]:
    return islice(form.lines(path), skipped, None)


def _separator(path: Path, form: TextFormat) -> str | None:
    """Read the delimiter off a first line that names it, as Excel writes it."""
    found = _SEPARATOR_LINE.fullmatch(next(form.lines(path), (1, None))[1] or "")
    return found.group(1) if found and found.group(1) in DELIMITERS.values() else None


def _read_names(path: Path, form: TextFormat, dialect: Dialect, skip_first: bool) -> tuple[list[str], int]:
    """Read the names of the columns; return also the number of lines down to the end of them."""
    head = list(islice(form.lines(path), MOST_HEADER_LINES))[skip_first:]
    while head and head[0][1] is not None and not head[0][1].strip():
        head.pop(0)
    if not head:
        return [], 0
    header = next(dialect.records(head))
    names, last = header.cells, header.line + len(header.lines) - 1
    if not header.well_formed:  # a mark that is never closed; only the first line can be meant
        names, last = split_line(head[0][1] or "", dialect.delimiter), head[0][0]
    if not dialect.quoted:
        names = [name.strip().strip('"') for name in names]
    return [_LINE_BREAKS.sub(" ", name).strip() for name in names], last


def _suffices(names: list[str], check_columns: ColumnCheck) -> bool:
    try:
        check_columns(names)
    except UserError:
        return False
    return True


@lru_cache(maxsize=256)  # a preparation lists its input more than once
def _choose(
    path: Path,
    form: TextFormat,
    header_lines: int,
    delimiter: str,
    names: tuple[str, ...],
    known: tuple[tuple[str, frozenset[str]], ...],
    size: int,
    changed: int,
) -> Choice:
    return choose_quoting(lambda: _lines(path, form, header_lines), delimiter, list(names), dict(known))


@lru_cache(maxsize=256)
def _say(path: Path, dialect: Dialect, form: TextFormat, size: int, changed: int) -> None:
    """Tell, once, in which dialect and encoding a file is read."""
    encoding = f"{form.encoding}, with bytes that are not" if form.mixed else form.encoding
    other = Dialect(dialect.delimiter, not dialect.quoted).name
    log.info(
        "%s is read as %s, %s. If that is wrong: data.dialect=%s or the like; another encoding: iconv -t UTF-8.",
        path.name, dialect.name, encoding, other,
    )  # fmt: skip


@lru_cache(maxsize=256)
def _warn_of_torn_rows(name: str, dialect: str, rows: int, lines: int) -> None:
    log.warning(
        "%s, read as data.dialect=%s: %d rows that are left out take in %d lines. Should each line be a row, take "
        "data.dialect=%s.", name, dialect, rows, lines, dialect.replace("-quoted", "-unquoted"),
    )  # fmt: skip


def _explain_doubt(path: Path, root: str, dialect: Dialect, doubt: Doubt) -> str:
    line, unquoted = doubt.line, Dialect(dialect.delimiter, False).name
    found = f"the row around line {line} has a mark too many, or lacks one, so that it is torn"
    if doubt.swallowed is not None:
        found = (
            f"the quotation mark that opens in line {line} takes in line {doubt.swallowed}, which is a row of its own; "
            f"and line {doubt.needs_quotes} cannot be read unless marks quote"
        )
    return (
        f"data.root={root}: the quotation marks of {path.name} do not match: {found}. Mend line {line} (close its "
        f"mark, or double it), or say how to read the file: data.dialect={unquoted} takes each line as a row, "
        f"data.dialect={dialect.name} takes all between two marks as one cell."
    )
