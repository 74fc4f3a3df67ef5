"""The rows of a table in each format, in one file or several: CSV and its kin, JSON lines, JSON arrays, Parquet."""

from __future__ import annotations

import glob
import io
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safe_exp.data.reading.delimited import ColumnCheck, delimited_rows
from safe_exp.data.reading.json_text import END, BrokenJson, JsonText
from safe_exp.data.reading.text_files import TextFormat, find_format, find_mark, open_file
from safe_exp.data.reading.untrusted import MAX_ARTICLE_BYTES, PROBED_BYTES, UnusableArticle, decode_text, parse_object
from safe_exp.system.errors import UserError, first_line

DELIMITED_SUFFIXES = (".csv", ".tsv", ".txt")
JSON_SUFFIXES, PARQUET_SUFFIXES = (".jsonl", ".ndjson", ".json"), (".parquet",)
PARQUET_BATCH_ROWS = 256
EXPECTED_FORMATS = "Expected .csv, .tsv, .txt, .jsonl, .json or .parquet, all but the last also with .gz."
NAMED_KEYS = 30
GLOB_SIGNS = frozenset("*?[")

# Number from 1, with the name of the file where there are several; and a dict of cells, a line of JSON (bytes), or the
# UnusableArticle of a bad row.
Row = tuple[int | str, Any]


def read_rows(
    path: Path,
    root: str,
    check_columns: ColumnCheck,
    columns: set[str],
    *,
    records: str | None = None,
    dialect: str | None = None,
    known: Mapping[str, frozenset[str]] | None = None,
) -> Iterator[Row]:
    """Yield the rows of a table, one at a time: of one file, or of all files that a pattern names, sorted by name.

    Args:
        path: of the table, resolved; or a pattern, such as hf-train-*.parquet.
        root: the table as the user gave it, for messages.
        check_columns: called with the names of the columns before the first row of each file.
        columns: names of those that are read.
        records: key of a JSON file that holds the array of rows, with dots between the keys on the way to it.
        dialect: of CSV and its kin, one of DIALECTS; None: it is told from the file.
        known: values that are expected in a column, in lower case, by its name; they help to tell the dialect.
    Raises:
        UserError: a file is missing, of an unknown kind, unreadable or cut off; or `check_columns` refuses it; or the
            files differ in the columns that are read.
    """
    files = table_files(path, root)
    folder, several = fixed_folder(path), len(files) > 1
    first: set[str] | None = None

    for file in files:
        name = file.relative_to(folder).as_posix() if several else file.name

        def check(present: list[str], name: str = name) -> None:
            nonlocal first
            try:
                check_columns(present)
            except UserError as error:
                raise UserError(f"{error} The file is {name}.") if several else error from error
            wanted = columns & set(present)
            if several and first is not None and wanted != first and not _is_json(name):
                odd = min(wanted ^ first)
                has, lacks = (name, files[0].name) if odd in wanted else (files[0].name, name)
                raise UserError(
                    f"data.root={root}: {has} has a column {odd}, {lacks} has none. Files of one table have the same "
                    f"columns; name another pattern, or set the column to null (data.columns.…=null)."
                )
            first = wanted

        for number, content in _file_rows(file, root, check, columns, records, dialect, known or {}):
            yield (f"{name} row {number}" if several else number), content


def table_files(path: Path, root: str) -> list[Path]:
    """List the files of a table, sorted by name.

    Raises:
        UserError: there is none.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        raise UserError(
            f"data.root={root} is a folder; data=fakenewsnet reads those. A table in several files is named by a "
            f"pattern, as in 'data.root={root.rstrip('/')}/*.parquet'. {EXPECTED_FORMATS}"
        )
    if not GLOB_SIGNS & set(str(path)):
        raise UserError(f"data.root={root} does not exist (looked at {path}). {EXPECTED_FORMATS}")
    found = sorted(Path(name) for name in glob.glob(str(path)) if Path(name).is_file())
    if not found:
        raise UserError(f"data.root={root}: no file has such a name (looked for {path}). {EXPECTED_FORMATS}")
    return found


def fixed_folder(path: Path) -> Path:
    """Folder of a table; of a pattern, the part above its first sign that stands for others."""
    if path.exists():
        return path.parent
    return next(parent for parent in path.parents if not GLOB_SIGNS & set(str(parent)))


def parse_row(number: int | str, content: Any) -> dict[str, Any]:
    """Turn a row of `read_rows` into its cells by column; bytes are texts in some encoding.

    Raises:
        UnusableArticle: the row is damaged.
    """
    where = f"row {number}" if isinstance(number, int) else number
    if isinstance(content, UnusableArticle):
        raise content
    if isinstance(content, bytes):
        return parse_object(decode_text(content, "row", where), "row", where)
    if not isinstance(content, dict):
        raise UnusableArticle("row is not a JSON object", f"{where}: it holds a {type(content).__name__}")
    return {
        name: decode_text(bytes(cell), "row", where) if isinstance(cell, bytes) else cell
        for name, cell in content.items()
    }


def _is_json(name: str) -> bool:
    return _kind(Path(name)) in JSON_SUFFIXES


def _kind(path: Path) -> str:
    return next((s for s in reversed([suffix.casefold() for suffix in path.suffixes]) if s != ".gz"), "")


def _file_rows(
    path: Path,
    root: str,
    check_columns: ColumnCheck,
    columns: set[str],
    records: str | None,
    dialect: str | None,
    known: Mapping[str, frozenset[str]],
) -> Iterator[tuple[int, Any]]:
    kind = _kind(path)
    for key, value, suffixes in (("dialect", dialect, DELIMITED_SUFFIXES), ("records", records, JSON_SUFFIXES)):
        if value is not None and kind not in suffixes:
            raise UserError(f"data.{key}={value} has no meaning for {path.name}; it is for {', '.join(suffixes)}.")
    try:
        if kind in DELIMITED_SUFFIXES:
            yield from delimited_rows(path, root, check_columns, dialect, known)
        elif kind in JSON_SUFFIXES:
            yield from _json_rows(path, root, check_columns, records)
        elif kind in PARQUET_SUFFIXES:
            yield from _parquet_rows(path, root, check_columns, columns)
        else:
            which = "" if path.name in root else f" {path.name}:"
            raise UserError(
                f"data.root={root}:{which} the name does not say what kind of table it is. {EXPECTED_FORMATS}"
            )
    except (OSError, EOFError, zlib.error) as error:  # the last two from gzip files that are cut off or damaged
        raise UserError(f"data.root={root} cannot be read ({error}). Is the file whole?") from error


def _json_rows(path: Path, root: str, check_columns: ColumnCheck, records: str | None) -> Iterator[tuple[int, Any]]:
    """Yield the elements of an array, or the lines of JSON lines, which begin with an object."""
    mark = find_mark(path, root)
    with TextFormat(mark or "utf-8").open(path) as text:
        start = text.read(PROBED_BYTES).lstrip(" \t\r\n\0\ufeff")[:1]
    if start == "[" or records is not None:
        yield from _array_rows(path, root, check_columns, records)
    else:
        yield from _line_rows(path, root, check_columns, mark)


def _array_rows(path: Path, root: str, check_columns: ColumnCheck, records: str | None) -> Iterator[tuple[int, Any]]:
    form = find_format(path, root)
    try:
        with form.open(path) as handle:
            text = JsonText(handle)
            if records is not None:
                _find_array(text, records.split("."), f"data.records={records}")
            for number, element in enumerate(text.elements(), 1):
                if number == 1 and isinstance(element, dict):
                    check_columns(list(element))
                yield number, _restore(element, form) if form.mixed else element
            if records is None and text.peek() != END:
                raise BrokenJson(f"line {text.line}: the array ends, and something follows")
    except BrokenJson as error:
        raise UserError(
            f"data.root={root} cannot be read as JSON ({error}). Is the file whole? Mend it there; no row is read "
            "meanwhile."
        ) from error


def _find_array(text: JsonText, keys: list[str], setting: str) -> None:
    """Read on to the array below these keys, each in the object of the one before.

    Raises:
        UserError: a key is missing, or there is no array.
    """
    for depth, key in enumerate(keys):
        found = []
        if text.peek() != "{":
            raise UserError(f"{setting}: {'.'.join(keys[:depth]) or 'the file'} holds no object with keys.")
        for name in text.members():
            if name == key:
                break
            found.append(name)
            text.skip()
        else:
            raise UserError(f"{setting}: there is no key {key}. There are {', '.join(found[:NAMED_KEYS]) or 'none'}.")
    if text.peek() != "[":
        raise UserError(f"{setting}: expected an array [{{…}}, {{…}}] there, found '{text.peek()}'.")


def _restore(value: Any, form: TextFormat) -> Any:
    """Restore the bytes of texts that are not in the encoding of the file."""
    if isinstance(value, dict):
        return {name: _restore(inner, form) for name, inner in value.items()}
    if isinstance(value, str):
        with suppress(UnicodeEncodeError):  # half of a surrogate pair, as "\ud83d"
            return form.restore(value)
    return value


def _line_rows(path: Path, root: str, check_columns: ColumnCheck, mark: str | None) -> Iterator[tuple[int, Any]]:
    with _open_lines(path, mark) as raw:
        number = 0
        while line := raw.readline(MAX_ARTICLE_BYTES + 1):
            number += 1
            if len(line) > MAX_ARTICLE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = raw.readline(MAX_ARTICLE_BYTES)
                yield number, UnusableArticle("row is too large", f"more than {MAX_ARTICLE_BYTES / 1e6:g} MB")
            elif line.strip(b" \t\r\n\0"):
                if number == 1:
                    _check_first_line(line, path, root, check_columns)
                yield number, line


def _open_lines(path: Path, mark: str | None) -> io.BufferedReader:
    """Open a file for reading in lines of UTF-8."""
    if mark in (None, "utf-8-sig"):
        return open_file(path)
    return io.BufferedReader(_Recoded(path, mark))


class _Recoded(io.RawIOBase):
    """A text file of wide characters, read as UTF-8."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._text = TextFormat(encoding, newline="").open(path)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        self._rest = self._rest or self._text.read(len(target) // 4 + 1).encode("utf-8", "surrogatepass")
        piece, self._rest = self._rest[: len(target)], self._rest[len(target) :]
        target[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._text.close()
        super().close()


def _check_first_line(line: bytes, path: Path, root: str, check_columns: ColumnCheck) -> None:
    """Refuse one object that holds all rows, or a first row without the named columns.

    Raises:
        UserError: the first line shows one of them; the message tells how to name the array or the columns.
    """
    try:
        row = parse_object(decode_text(line, "row", "row 1"), "row", "row 1")
    except UnusableArticle:
        arrays = _arrays(path) if _kind(path) == ".json" else None
        if arrays is None:  # a bad line, which costs itself alone
            return
    else:
        arrays = [
            name for name, value in row.items() if isinstance(value, list) and value[:1] and isinstance(value[0], dict)
        ]
        try:
            check_columns(list(row))
            return
        except UserError:
            if not arrays:
                raise
    named = f"data.records={arrays[0]}" if arrays else "data.records=KEY"
    raise UserError(
        f"data.root={root} is one JSON object. Expected an array of articles, or one object a line. Name the key that "
        f"holds the array, as in {named}."
    )


def _arrays(path: Path) -> list[str] | None:
    """List the keys that hold arrays in a file that is one JSON object; None if it is none."""
    found = []
    try:
        with TextFormat(find_mark(path, str(path)) or "utf-8").open(path) as handle:
            text = JsonText(handle)
            for name in text.members():
                if text.peek() == "[":
                    found.append(name)
                text.skip()
            return found if text.peek() == END else None
    except (BrokenJson, RecursionError):
        return None


def _parquet_rows(
    path: Path, root: str, check_columns: ColumnCheck, columns: set[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
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
            if number != file.metadata.num_rows:
                raise UserError(
                    f"data.root={root}: {path.name} says it has {file.metadata.num_rows} rows; {number} came."
                )
    except UserError:
        raise
    # ValueError from words that are no UTF-8, and, like OverflowError, from times that no calendar has
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise UserError(
            f"data.root={root} cannot be read as Parquet ({first_line(error)}). Is the file whole?"
        ) from error
