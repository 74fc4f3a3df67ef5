"""The rows of a table in each format: CSV or TSV, JSON lines, Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from safe_exp.data.reading.untrusted import (
    BYTE_ORDER_MARKS,
    MAX_ARTICLE_BYTES,
    UnusableArticle,
    decode_text,
    parse_object,
)
from safe_exp.system.errors import UserError, first_line

CSV_SUFFIXES, JSON_SUFFIXES, PARQUET_SUFFIXES = (".csv", ".tsv"), (".jsonl", ".ndjson", ".json"), (".parquet",)
DELIMITERS = (",", "\t", ";", "|")  # the commonest in the header is taken
PARQUET_BATCH_ROWS = 256
EXPECTED_FORMATS = "Expected .csv, .tsv, .jsonl or .parquet, the first three also with .gz."

Row = tuple[int, Any]  # number from 1; a dict of cells, a line of JSON (bytes), or the UnusableArticle of a bad row
ColumnCheck = Callable[[list[str]], None]  # raises a UserError if the columns that are there do not suffice


def read_rows(path: Path, root: str, check_columns: ColumnCheck, columns: set[str]) -> Iterator[Row]:
    """Yield the rows of a table, one at a time.

    Args:
        path: of the table, resolved.
        root: the table as the user gave it, for messages.
        check_columns: called with the names of the columns before the first row.
        columns: names of those that are read.
    Raises:
        UserError: the table is missing, of an unknown kind, unreadable or cut off, or `check_columns` refuses it.
    """
    if not path.is_file():
        what = "is a folder; data=fakenewsnet reads those" if path.is_dir() else "does not exist"
        raise UserError(f"data.root={root} {what} (looked at {path}). {EXPECTED_FORMATS}")
    kind = [suffix.casefold() for suffix in path.suffixes if suffix.casefold() != ".gz"][-1:]
    try:
        if kind and kind[0] in CSV_SUFFIXES:
            yield from _csv_rows(path, check_columns)
        elif kind and kind[0] in JSON_SUFFIXES:
            yield from _json_rows(path, root, check_columns)
        elif kind and kind[0] in PARQUET_SUFFIXES:
            yield from _parquet_rows(path, root, check_columns, columns)
        else:
            raise UserError(f"data.root={root}: the name does not say what kind of table it is. {EXPECTED_FORMATS}")
    except (OSError, EOFError, zlib.error) as error:  # the last two from gzip files that are cut off or damaged
        raise UserError(f"data.root={root} cannot be read ({error}). Is the file whole?") from error


def parse_row(number: int, content: Any) -> dict[str, Any]:
    """Turn a row of `read_rows` into its cells by column.

    Raises:
        UnusableArticle: the row is damaged.
    """
    if isinstance(content, UnusableArticle):
        raise content
    if isinstance(content, bytes):
        return parse_object(decode_text(content, "row", f"row {number}"), "row", f"row {number}")
    return {
        name: decode_text(cell, "row", f"row {number}") if isinstance(cell, bytes) else cell
        for name, cell in content.items()
    }


def _csv_rows(path: Path, check_columns: ColumnCheck) -> Iterator[Row]:
    """Yield rows by the standard library's csv: a bad row or a wrong encoding concerns that row alone."""
    csv.field_size_limit(MAX_ARTICLE_BYTES)
    with _open_file(path) as raw:
        head = raw.peek(4)[:4]
        encoding = next((name for mark, name in BYTE_ORDER_MARKS if head.startswith(mark)), "utf-8")
        # Bytes that are no UTF-8 are kept and decoded cell by cell, in `parse_row`.
        text = io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline="")
        lines = iter(text)
        first = next(lines, "")
        delimiter = max(DELIMITERS, key=first.count)
        names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
        check_columns(names)
        rows = csv.reader((line.replace("\0", " ") for line in lines), delimiter=delimiter)
        number = 0
        while True:
            number += 1
            try:
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:  # for example a quotation mark that is never closed
                yield number, UnusableArticle("row cannot be read", str(error))
                continue
            if len(cells) == len(names):
                yield number, dict(zip(names, map(_restore_bytes, cells), strict=True))
            elif cells:  # else an empty line
                detail = f"{len(cells)} cells, expected {len(names)}"
                yield number, UnusableArticle("row has too few or too many cells", detail)


def _json_rows(path: Path, root: str, check_columns: ColumnCheck) -> Iterator[Row]:
    with _open_file(path) as raw:
        number = 0
        while line := raw.readline(MAX_ARTICLE_BYTES + 1):
            number += 1
            if len(line) > MAX_ARTICLE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = raw.readline(MAX_ARTICLE_BYTES)
                yield number, UnusableArticle("row is too large", f"more than {MAX_ARTICLE_BYTES / 1e6:g} MB")
            elif line.strip():
                if number == 1:
                    _check_first_line(line, root, check_columns)
                yield number, line


def _check_first_line(line: bytes, root: str, check_columns: ColumnCheck) -> None:
    """Refuse a JSON array, or a first row without the named columns, before each row is left out for it.

    Raises:
        UserError: the first line is one of them; the message tells how to convert the file or name its columns.
    """
    if line.lstrip().startswith(b"["):
        raise UserError(
            f"data.root={root} starts with '['; expected JSON lines, one object {{…}} on each. To convert: "
            "jq -c '.[]' in.json > out.jsonl"
        )
    with suppress(UnusableArticle):
        check_columns(list(parse_object(decode_text(line, "row", "row 1"), "row", "row 1")))


def _parquet_rows(path: Path, root: str, check_columns: ColumnCheck, columns: set[str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            check_columns(present)
            number = 0
            wanted = sorted(columns & set(present))
            for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter from names and words that are no UTF-8
        raise UserError(
            f"data.root={root} cannot be read as Parquet ({first_line(error)}). Is the file whole?"
        ) from error


def _open_file(path: Path) -> io.BufferedReader:
    if path.suffix.casefold() == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))
    return path.open("rb")


def _restore_bytes(cell: str) -> str | bytes:
    """Restore the bytes of a cell that is not UTF-8; other cells stay text."""
    try:
        cell.encode()
    except UnicodeEncodeError:
        return cell.encode("utf-8", "surrogateescape")
    return cell
