"""Dialects of CSV-like files: the delimiter, and whether quotation marks quote; and their records."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

from safe_exp.data.reading.untrusted import MAX_ARTICLE_BYTES

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}
QUOTINGS = ("quoted", "unquoted")
DIALECTS = tuple(f"{name}-{quoting}" for name in DELIMITERS for quoting in QUOTINGS)
MARK = '"'
Line: TypeAlias = tuple[int, str | None]  # number in the file from 1, and text; None: it is too long to be held
TOO_LARGE = f"more than {MAX_ARTICLE_BYTES / 1e6:g} MB"
_INNER_RETURN = re.compile(r"\r(?!\n?$)")  # where lines end otherwise, it ends none
_STAND_IN = "\x1e"  # for such a return: csv takes it for the end of a row


class Dialect(NamedTuple):
    """Delimiter and quoting of a CSV-like file."""

    delimiter: str
    quoted: bool

    @classmethod
    def named(cls, name: str) -> Dialect:
        """Return the dialect of a name in DIALECTS."""
        delimiter, _, quoting = name.partition("-")
        return cls(DELIMITERS[delimiter], quoting == "quoted")

    @property
    def name(self) -> str:
        """Name in DIALECTS."""
        delimiter = next(name for name, sign in DELIMITERS.items() if sign == self.delimiter)
        return f"{delimiter}-{QUOTINGS[not self.quoted]}"

    def records(self, lines: Iterable[Line]) -> Iterator[Record]:
        """Cut lines into records; an empty line gives one without cells."""
        return _quoted_records(lines, self.delimiter) if self.quoted else _unquoted_records(lines, self.delimiter)


@dataclass
class Record:
    """A row as it stands in the file."""

    delimiter: str
    line: int  # number of its first line in the file, from 1
    lines: list[str]
    cells: list[str]
    fault: str | None = None  # the reason why it cannot be read
    cut_off: bool = False  # a further line of it is too long to be held
    blank: bool = False  # an empty line, which is no row

    @cached_property
    def marked(self) -> bool:
        """It holds a quotation mark."""
        return any(MARK in line for line in self.lines)

    @cached_property
    def well_formed(self) -> bool:
        """Each quotation mark that opens a cell is closed at the end of a cell."""
        if self.fault or not self.marked:
            return not self.fault
        rows = csv.reader(map(_hide_returns, self.lines), delimiter=self.delimiter, strict=True)
        try:
            return sum(1 for _ in rows) == 1
        except csv.Error:
            return False

    @cached_property
    def odd(self) -> bool:
        """It has a mark too many, or lacks one."""
        return self.marked and (not self.well_formed or sum(line.count(MARK) for line in self.lines) % 2 == 1)


class _Feed:
    """The lines of one record after another, as csv asks for them."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self.start()

    def start(self) -> None:
        """Forget the lines of the record before."""
        self.number = self.size = 0
        self.taken: list[str] = []
        self.cut_off = False

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        if not self.taken:
            self.number = number
        self.size += len(line or "")
        if line is None:
            self.cut_off = True
            raise csv.Error(TOO_LARGE)
        self.taken.append(line)
        if self.size > MAX_ARTICLE_BYTES:
            raise csv.Error(TOO_LARGE)
        return _hide_returns(line)


def _hide_returns(line: str) -> str:
    return _INNER_RETURN.sub(_STAND_IN, line) if "\r" in line else line


def _quoted_records(lines: Iterable[Line], delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(MAX_ARTICLE_BYTES)
    feed = _Feed(lines)
    rows = csv.reader(feed, delimiter=delimiter)
    while True:
        feed.start()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record(delimiter, feed.number, feed.taken, [], str(error), feed.cut_off)
            continue
        if any("\r" in line for line in feed.taken):
            cells = [cell.replace(_STAND_IN, "\r") for cell in cells]
        blank = len(feed.taken) == 1 and is_blank(feed.taken[0], delimiter)
        yield Record(delimiter, feed.number, feed.taken, cells, blank=blank)


def _unquoted_records(lines: Iterable[Line], delimiter: str) -> Iterator[Record]:
    for number, line in lines:
        if line is None:
            yield Record(delimiter, number, [], [], TOO_LARGE, cut_off=True)
        else:
            yield Record(delimiter, number, [line], split_line(line, delimiter), blank=is_blank(line, delimiter))


def split_line(line: str, delimiter: str) -> list[str]:
    """Split a line at each delimiter; quotation marks mean nothing."""
    return line.rstrip("\r\n").split(delimiter)


def is_blank(line: str, delimiter: str) -> bool:
    """Tell if a line is empty but for spaces."""
    return not line.strip(" \t\r\n") and delimiter not in line
