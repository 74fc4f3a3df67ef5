"""Tables with one article a row: CSV or TSV, JSON lines, or Parquet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from safe_exp.config.data import DataConfig, LabelsConfig, SplitMethod
from safe_exp.data.reading.articles import Article, LeftOut, label_words, require_words
from safe_exp.data.reading.cleaning import as_text, iso_date
from safe_exp.data.reading.readers import DataKind, readers
from safe_exp.data.reading.table_formats import Row, parse_row, read_rows
from safe_exp.data.reading.untrusted import UnusableArticle
from safe_exp.system.errors import UserError


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
    split: str | None = None  # side of each row, for data.split=given: train, val or test, as published


@dataclass
class TableDataConfig(DataConfig):
    """A table of articles: its columns, and the folder of its images."""

    columns: ColumnsConfig = MISSING
    images: str | None = MISSING  # folder that the image column's paths start from; null: the table's own
    image_pattern: str | None = MISSING  # name of an image's file, such as '{id}.jpg'; null: the image column's cell
    image_separator: str | None = MISSING  # character between several images in one cell; null: one image a cell
    records: str | None = MISSING  # key of a JSON file that holds the array of articles; null: the file is the array
    dialect: str | None = MISSING  # delimiter and quoting, such as tab-unquoted; null: told from the file

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
        return read_rows(self._path, self.root, self._check_columns, set(self._cells.values()))

    def stray(self) -> list[LeftOut]:
        """List what `items` left out: nothing, since a bad row is an item, too."""
        return []

    def signature(self, item: Row) -> Any:
        """Hash the row, and add size and times of its image."""
        number, content = item
        image = None
        if not self.reads_captions and "image" in self._cells:
            try:
                cell = str(parse_row(number, content).get(self._cells["image"]) or "").strip()
                stat = os.stat(self._images / cell) if cell else None
                image = stat and [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
            except (OSError, ValueError, UnusableArticle):  # `read` gives the reason
                image = None
        return [number, hashlib.sha256(repr(content).encode("utf-8", "replace")).hexdigest(), image]

    def read(self, item: Row) -> Article | LeftOut:
        """Read the article of a row, or give the reason why there is none."""
        number, content = item
        try:
            return self._read(number, parse_row(number, content))
        except UnusableArticle as error:
            return LeftOut(f"{self._path.name} row {number}", error.reason, error.detail)

    def _read(self, number: int, row: dict[str, Any]) -> Article:
        cells = {name: row.get(column) for name, column in self._cells.items()}
        article_id = as_text(cells.get("id")) or f"row {number}"
        title, text, date = as_text(cells.get("title")), as_text(cells.get("text")), cells.get("date")
        caption, image, no_visual = self._visual(cells)
        require_words(article_id, title, text, has_visual=no_visual is None)
        return Article(
            id=article_id,
            made_up_id=not as_text(cells.get("id")),
            label=None if self.labels is None else self._label(cells["label"]),
            title=title,
            text=text,
            caption=caption,
            images=() if image is None else (image,),
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


def _reader(data: TableDataConfig, labels: LabelsConfig | None, caption_file: str | None) -> TableReader:
    columns = data.columns if data.split is SplitMethod.given else replace(data.columns, split=None)
    return TableReader(data.root, columns, labels, data.images, reads_captions=caption_file is not None)


readers.add(DataKind("table", TableDataConfig, _reader))
