"""Tables with one article a row: CSV or TSV, JSON lines, or Parquet."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from safe_exp.config.data import DataConfig, LabelsConfig
from safe_exp.data.reading.articles import Article, LeftOut, label_words, require_words
from safe_exp.data.reading.cleaning import as_text, iso_date
from safe_exp.data.reading.readers import DataKind, readers
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


@dataclass
class ColumnsConfig:
    """Names of a table's columns. A column that keeps its default name may be absent; null: there is none."""

    id: str | None = MISSING
    title: str | None = MISSING
    text: str | None = MISSING
    label: str = MISSING
    image: str | None = MISSING  # a path below data.images
    caption: str | None = MISSING
    source: str | None = MISSING
    date: str | None = MISSING


@dataclass
class TableDataConfig(DataConfig):
    """A table of articles: its columns, and the folder of its images."""

    columns: ColumnsConfig = MISSING
    images: str | None = MISSING  # folder that the image column's paths start from; null: the table's own

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.download_images:
            raise UserError(
                "data.download_images=true: image addresses are read from FakeNewsNet-style folders, not from tables. "
                "Download the images first and name their files in the column data.columns.image."
            )


@dataclass
class TableReader:
    """Read a table of articles.

    Args:
        root: the table as the user gave it.
        columns: names of its columns.
        labels: the words that name each class; None: the rows have no labels.
        images: folder that the image column's paths start from; None: the table's own.
        reads_captions: take the sentence that describes the image from its column; else look for the image itself.
    """

    root: str
    columns: ColumnsConfig
    labels: LabelsConfig | None
    images: str | None
    reads_captions: bool

    def __post_init__(self) -> None:
        self._path = Path(self.root).expanduser().resolve()
        self._images = Path(self.images).expanduser().resolve() if self.images else self._path.parent
        self._words = {} if self.labels is None else label_words(self.labels)
        self._cells = {name: column for name, column in vars(self.columns).items() if column is not None}
        if self.labels is None:
            self._cells.pop("label", None)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that shape the articles, as plain values."""
        return {"reader": "table", "labels": self._words, "columns": self._cells, "captions": self.reads_captions}

    @property
    def image_root(self) -> Path:
        """The resolved folder outside of which no image is read."""
        return self._images

    def items(self) -> Iterator[Row]:
        """Yield the rows of the table, one at a time.

        Raises:
            UserError: the table is missing, of an unknown kind, unreadable or cut off, or lacks a column.
        """
        if not self._path.is_file():
            what = "is a folder; data=fakenewsnet reads those" if self._path.is_dir() else "does not exist"
            raise UserError(f"data.root={self.root} {what} (looked at {self._path}). {EXPECTED_FORMATS}")
        kind = [suffix.casefold() for suffix in self._path.suffixes if suffix.casefold() != ".gz"][-1:]
        try:
            if kind and kind[0] in CSV_SUFFIXES:
                yield from self._csv_rows()
            elif kind and kind[0] in JSON_SUFFIXES:
                yield from self._json_rows()
            elif kind and kind[0] in PARQUET_SUFFIXES:
                yield from self._parquet_rows()
            else:
                raise UserError(
                    f"data.root={self.root}: the name does not say what kind of table it is. {EXPECTED_FORMATS}"
                )
        except (OSError, EOFError, zlib.error) as error:  # the last two from gzip files that are cut off or damaged
            raise UserError(f"data.root={self.root} cannot be read ({error}). Is the file whole?") from error

    def stray(self) -> list[LeftOut]:
        """List what `items` left out: nothing, since a bad row is an item, too."""
        return []

    def signature(self, item: Row) -> Any:
        """Hash the row, and add size and times of its image."""
        number, content = item
        image = None
        if not self.reads_captions and "image" in self._cells:
            try:
                cell = str(self._row(number, content).get(self._cells["image"]) or "").strip()
                stat = os.stat(self._images / cell) if cell else None
                image = stat and [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
            except (OSError, ValueError, UnusableArticle):  # `read` gives the reason
                image = None
        return [number, hashlib.sha256(repr(content).encode("utf-8", "replace")).hexdigest(), image]

    def read(self, item: Row) -> Article | LeftOut:
        """Read the article of a row, or give the reason why there is none."""
        number, content = item
        try:
            return self._read(number, self._row(number, content))
        except UnusableArticle as error:
            return LeftOut(f"{self._path.name} row {number}", error.reason, error.detail)

    def _row(self, number: int, content: Any) -> dict[str, Any]:
        if isinstance(content, UnusableArticle):
            raise content
        if isinstance(content, bytes):
            return parse_object(decode_text(content, "row", f"row {number}"), "row", f"row {number}")
        return {
            name: decode_text(cell, "row", f"row {number}") if isinstance(cell, bytes) else cell
            for name, cell in content.items()
        }

    def _read(self, number: int, row: dict[str, Any]) -> Article:
        cells = {name: row.get(column) for name, column in self._cells.items()}
        article_id = as_text(cells.get("id")) or f"row {number}"
        title, text, date = as_text(cells.get("title")), as_text(cells.get("text")), cells.get("date")
        caption, image, no_visual = self._visual(cells)
        require_words(article_id, title, text, has_visual=no_visual is None)
        return Article(
            id=article_id,
            label=None if self.labels is None else self._label(cells["label"]),
            title=title,
            text=text,
            caption=caption,
            image=image,
            no_visual=no_visual,
            source=as_text(cells.get("source")) or None,
            date=iso_date(date.isoformat() if hasattr(date, "isoformat") else date),  # Parquet has a type for dates
        )

    def _label(self, cell: Any) -> int:
        label = as_text(cell) if not isinstance(cell, bool) else str(cell)
        if label.casefold() not in self._words:
            raise UnusableArticle(
                "label is not one of data.labels",
                f"'{label[:40]}' in column {self.columns.label}; say which words are which, as in "
                "data.labels.fake=[false] data.labels.real=[true]",
            )
        return self._words[label.casefold()]

    def _visual(self, cells: dict[str, Any]) -> tuple[str, Path | None, tuple[str, str] | None]:
        """Read the caption or find the image; third is the reason where there is neither."""
        if self.reads_captions:
            caption = as_text(cells.get("caption"))
            reason = None if caption else ("no caption", f"column {self.columns.caption} is empty or absent")
            return caption, None, reason
        name = str(cells.get("image") or "").strip()
        if not name:
            return "", None, ("no image", f"column {self.columns.image} is empty or absent")
        try:
            path = (self._images / name).resolve()
            if not path.is_relative_to(self._images):
                return "", None, ("image lies outside data.images", name[:100])
            if not path.is_file():
                return "", None, ("no image file", f"expected {name[:100]} below data.images")
        except (OSError, ValueError, RuntimeError):  # a name that no file can have
            return "", None, ("no image file", f"{name[:100]!r} names no file")
        return "", path, None

    def _check_columns(self, present: list[str]) -> None:
        """Refuse a table that lacks its label, its words, or a column that the user named.

        Raises:
            UserError: a column is missing; the message lists those that are there.
        """
        missing = [c for name, c in self._cells.items() if c not in present and (c != name or name == "label")]
        if not missing and not {self._cells.get("title"), self._cells.get("text")} & set(present):
            missing = ["title or text"]
        if missing:
            raise UserError(
                f"data.root={self.root}: there is no column {missing[0]}. It has {', '.join(present[:30])}. Name its "
                "columns, as in data.columns.label=verdict data.columns.text=body; null where there is none."
            )

    def _csv_rows(self) -> Iterator[Row]:
        """Yield rows by the standard library's csv: a bad row or a wrong encoding concerns that row alone."""
        csv.field_size_limit(MAX_ARTICLE_BYTES)
        with self._open_file() as raw:
            head = raw.peek(4)[:4]
            encoding = next((name for mark, name in BYTE_ORDER_MARKS if head.startswith(mark)), "utf-8")
            # Bytes that are no UTF-8 are kept and decoded cell by cell, in `_row`.
            text = io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline="")
            lines = iter(text)
            first = next(lines, "")
            delimiter = max(DELIMITERS, key=first.count)
            names = next(csv.reader([first], delimiter=delimiter), [])
            names = [name.strip() for name in names]
            self._check_columns(names)
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

    def _json_rows(self) -> Iterator[Row]:
        with self._open_file() as raw:
            number = 0
            while line := raw.readline(MAX_ARTICLE_BYTES + 1):
                number += 1
                if len(line) > MAX_ARTICLE_BYTES:
                    while line and not line.endswith(b"\n"):
                        line = raw.readline(MAX_ARTICLE_BYTES)
                    yield number, UnusableArticle("row is too large", f"more than {MAX_ARTICLE_BYTES / 1e6:g} MB")
                elif line.strip():
                    if number == 1:
                        self._check_first(line)
                    yield number, line

    def _check_first(self, line: bytes) -> None:
        """Refuse a JSON array, or a first row without the named columns, before each row is left out for it.

        Raises:
            UserError: the first line is one of them; the message tells how to convert the file or name its columns.
        """
        if line.lstrip().startswith(b"["):
            raise UserError(
                f"data.root={self.root} starts with '['; expected JSON lines, one object {{…}} on each. To convert: "
                "jq -c '.[]' in.json > out.jsonl"
            )
        with suppress(UnusableArticle):
            self._check_columns(list(parse_object(decode_text(line, "row", "row 1"), "row", "row 1")))

    def _parquet_rows(self) -> Iterator[Row]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self._path) as file:
                present = file.schema_arrow.names
                self._check_columns(present)
                number = 0
                wanted = sorted(set(self._cells.values()) & set(present))
                for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=wanted):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, row
        except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter from names and words that are no UTF-8
            raise UserError(
                f"data.root={self.root} cannot be read as Parquet ({first_line(error)}). Is the file whole?"
            ) from error

    def _open_file(self) -> io.BufferedReader:
        if self._path.suffix.casefold() == ".gz":
            return io.BufferedReader(gzip.open(self._path, "rb"))
        return self._path.open("rb")


def _restore_bytes(cell: str) -> str | bytes:
    """Restore the bytes of a cell that is not UTF-8; other cells stay text."""
    try:
        cell.encode()
    except UnicodeEncodeError:
        return cell.encode("utf-8", "surrogateescape")
    return cell


def _reader(data: TableDataConfig, labels: LabelsConfig | None, caption_file: str | None) -> TableReader:
    return TableReader(data.root, data.columns, labels, data.images, reads_captions=caption_file is not None)


readers.add(DataKind("table", TableDataConfig, _reader))
