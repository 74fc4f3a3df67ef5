"""Choice between the two readings of a CSV-like file: its quotation marks quote, or they are signs like any other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from safe_exp.data.reading.dialects import MARK, Dialect, Line, Record, is_blank, split_line

MOST_VALUES = 32  # a column with more different values than this has no list of them
LEARNT_ROWS = 200_000
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?")


class Doubt(NamedTuple):
    """A place where neither reading is right."""

    line: int  # number of the line whose mark is at fault
    swallowed: int | None  # of a line that it takes in though it is a row of its own; None: it may be part of a row
    needs_quotes: int | None  # of a line that has too many cells unless marks quote


class Choice(NamedTuple):
    """A dialect, and what speaks for it."""

    dialect: Dialect
    records: int  # in this dialect
    fitting: int  # how many of them have the header's cells, each of its column's kind
    doubt: Doubt | None = None


def choose_quoting(
    read_lines: Callable[[], Iterable[Line]], delimiter: str, names: list[str], known: dict[str, frozenset[str]]
) -> Choice:
    """Choose if quotation marks quote, by the rows that each way costs.

    A mark that opens and never closes takes the next lines into its cell. Those are rows of their own if they have the
    header's cells, each of its column's kind; then the marks do not quote. They do quote if a row fits in that way
    alone. Where both are true, or a cell with line breaks seems to be torn, no reading is right: `doubt` has the place.

    Args:
        read_lines: gives the lines below the header; called once or twice.
        delimiter: between two cells.
        names: of the columns.
        known: values that are expected in a column, in lower case, by its name.
    """
    quoted = Dialect(delimiter, quoted=True)
    columns = [_Column(known.get(name)) for name in names]
    seen = _Marks(delimiter, len(names))
    for record in quoted.records(read_lines()):
        if not record.blank:
            seen.add(record, columns)
    if not seen.at_stake:
        return Choice(quoted, seen.records, seen.whole)
    if not seen.learnt:  # nothing to learn from: every row is taken in by a mark
        for number, line in read_lines():
            if line is not None and len(cells := split_line(line, delimiter)) == len(names):
                _learn(columns, cells, number)
    trial = _Trial(delimiter, columns)
    for record in quoted.records(read_lines()):
        if not record.blank:
            trial.add(record)
    # Rows that need no marks and have them all the same: the writer of the file puts them around each cell.
    needs_quotes = trial.needs_quotes or (seen.first_in_one_line if seen.in_one_line >= seen.records / 2 else None)
    swallows, needs = trial.swallowed is not None, needs_quotes is not None
    if not needs and (swallows or trial.by_line > trial.by_mark or seen.malformed > seen.proper):
        return Choice(Dialect(delimiter, quoted=False), trial.lines, trial.by_line)
    doubt = None
    # Where all is well formed, and no label tells rows from lines of a text, marks quote.
    if swallows and (seen.malformed or seen.whole < seen.records or known):
        doubt = Doubt(*trial.swallowed, needs_quotes)
    elif trial.torn is not None and seen.with_breaks:
        doubt = Doubt(trial.torn, None, None)
    return Choice(quoted, seen.records, trial.by_mark, doubt)


@dataclass
class _Column:
    """The cells that a column has in rows that are whole: their kinds, and their values if those are few."""

    known: frozenset[str] | None  # values that are expected; None: any
    kinds: set[str] = field(default_factory=set)
    values: set[str] = field(default_factory=set)
    cells: int = 0

    def learn(self, cell: str) -> None:
        """Note a cell."""
        if self.known is None and "words" in self.kinds:
            return
        self.cells += 1
        self.kinds.add(_kind(cell))
        if len(self.values) <= MOST_VALUES:
            self.values.add(cell.strip().casefold())

    def takes(self, cell: str) -> bool:
        """Tell if such a cell stands in this column elsewhere."""
        kind, value = _kind(cell), cell.strip().casefold()
        few = len(self.values) <= MOST_VALUES
        if self.known is not None:
            return value in self.known or (value in self.values if few else kind in self.kinds)
        if "words" in self.kinds or kind == "empty":
            return True
        if few and self.cells >= 4 * len(self.values):  # such as a language
            return value in self.values
        return kind in self.kinds or (kind == "number" and "word" in self.kinds)


def _kind(cell: str) -> str:
    """Name the kind of a cell: empty, a number, a word, words."""
    cell = cell.strip()
    if not cell:
        return "empty"
    if _NUMBER.fullmatch(cell):
        return "number"
    if any(sign.isspace() for sign in cell):
        return "words"
    return "word in marks" if len(cell) > 1 and cell[0] == cell[-1] == MARK else "word"


def _learn(columns: list[_Column], cells: list[str], number: int) -> None:
    if number <= LEARNT_ROWS:
        for column, cell in zip(columns, cells, strict=True):
            column.learn(cell)


class _Marks:
    """Count of the records of the quoted reading, by the use of their quotation marks."""

    def __init__(self, delimiter: str, width: int) -> None:
        self.delimiter, self.width = delimiter, width
        self.records = self.whole = self.proper = self.malformed = 0
        self.in_one_line = 0  # of the proper ones
        self.first_in_one_line: int | None = None
        self.learnt = 0
        self.with_breaks = 0  # whole rows with a line break in a cell
        self.at_stake = False  # a row may be lost, or cut up, by the wrong reading

    def add(self, record: Record, columns: list[_Column]) -> None:
        self.records += 1
        whole = not record.fault and len(record.cells) == self.width
        self.whole += whole
        if whole and not record.odd:
            self.learnt += 1
            _learn(columns, record.cells, self.records)
        self.with_breaks += whole and len(record.lines) > 1
        if record.marked:
            self._add_marked(record, whole)

    def _add_marked(self, record: Record, whole: bool) -> None:
        formed, lines = record.well_formed, record.lines
        self.malformed += not formed
        if formed and len(lines) > 1:
            self.proper += 1
        elif formed and any(cell.startswith(MARK) for cell in split_line(lines[0], self.delimiter)):
            self.proper += 1
            self.in_one_line += 1
            self.first_in_one_line = self.first_in_one_line or record.line
        # Two lines with the header's number of cells may be two rows.
        like_rows = len(lines) > 1 and sum(line.count(self.delimiter) == self.width - 1 for line in lines) > 1
        self.at_stake |= record.odd or not whole or like_rows


class _Trial:
    """Both readings of the same lines, compared record by record."""

    def __init__(self, delimiter: str, columns: list[_Column]) -> None:
        self.delimiter, self.columns = delimiter, columns
        self.lines = self.by_line = self.by_mark = 0  # rows that fit, read line by line, and with marks that quote
        self.swallowed: tuple[int, int] | None = None
        self.needs_quotes: int | None = None
        self.torn: int | None = None  # line of the first of two rows that do not fit, one of them with a mark too many
        self._before = True, False  # if the row before fits, and if it has a mark too many

    def add(self, record: Record) -> None:
        fits = not record.fault and self._fits(record.cells)
        self.by_mark += fits
        numbered = [
            (record.line + n, line) for n, line in enumerate(record.lines) if not is_blank(line, self.delimiter)
        ]
        plain = [self._fits_plain(line) for _, line in numbered]
        self.lines += len(numbered) + record.cut_off
        self.by_line += sum(plain)
        odd = record.odd
        before, odd_before = self._before
        if (odd or odd_before) and (odd or not fits) and (odd_before or not before) and not (fits and before):
            self.torn = self.torn or record.line - 1
        self._before = fits, odd
        if not record.marked:
            return
        swallowed = self._swallowed(record, fits, numbered, plain) if len(numbered) > 1 else None
        if swallowed is not None:
            self.swallowed = self.swallowed or (record.line, swallowed)
        elif fits and not all(plain):
            self.needs_quotes = self.needs_quotes or record.line

    def _swallowed(self, record: Record, fits: bool, lines: list[Line], plain: list[bool]) -> int | None:
        """Number of the first line that the record takes in though it is a row of its own."""
        own = plain if record.well_formed else [self._is_row(line) for _, line in lines]
        if fits and record.well_formed and sum(own) - 1 <= (len(lines) - 1) / 2:
            return None  # a cell with line breaks, of which a few look like rows
        return next((number for (number, _), is_row in zip(lines[1:], own[1:], strict=True) if is_row), None)

    def _fits_plain(self, line: str) -> bool:
        of_width = line.count(self.delimiter) == len(self.columns) - 1  # else it need not be cut
        return of_width and self._fits(split_line(line, self.delimiter))

    def _fits(self, cells: list[str]) -> bool:
        if len(cells) != len(self.columns):
            return False
        return all(column.takes(cell) for column, cell in zip(self.columns, cells, strict=True))

    def _is_row(self, line: str) -> bool:
        """Tell if a line of a torn row has the header's number of cells by itself, in either reading."""
        alone = next(iter(Dialect(self.delimiter, quoted=True).records([(1, line)])))
        return len(self.columns) in (len(alone.cells), line.count(self.delimiter) + 1)
