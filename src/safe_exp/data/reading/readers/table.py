"""Tables with one article a row: CSV and its kin, JSON lines or arrays, or Parquet."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from safe_exp.config.data import DataConfig, LabelsConfig, SplitMethod
from safe_exp.data.reading.articles import Article, LeftOut, Picture, read_side, require_words
from safe_exp.data.reading.cleaning import as_text, iso_date
from safe_exp.data.reading.dialects import DIALECTS
from safe_exp.data.reading.image_cells import (
    NO_FILE,
    Address,
    FoundImage,
    ImageCells,
    LostImage,
    check_pattern,
    take_stored,
    without_bytes,
)
from safe_exp.data.reading.labels import Labels
from safe_exp.data.reading.readers import DataKind, readers
from safe_exp.data.reading.table_formats import Row, fixed_folder, parse_row, read_rows
from safe_exp.data.reading.untrusted import UnusableArticle
from safe_exp.data.reading.written_dates import written_date
from safe_exp.system.errors import UserError

_DECIMAL_COMMA = re.compile(r"(-?\d+),(\d+)")


@dataclass
class ColumnsConfig:
    """Names of a table's columns. A column that keeps its default name may be absent; null: there is none."""

    id: str | None = MISSING
    title: str | None = MISSING
    text: str | None = MISSING
    label: str = MISSING
    image: str | None = MISSING  # a path below data.images, with or without its ending; an address; or the bytes
    caption: str | None = MISSING
    source: str | None = MISSING
    date: str | None = MISSING
    split: str | None = None  # side of each row, for data.split=given: train, val or test, as published


@dataclass
class TableDataConfig(DataConfig):
    """A table of articles: its columns, and the folder of its images."""

    columns: ColumnsConfig = MISSING
    images: str | None = MISSING  # folder that the image column's paths start from; null: the table's own
    image_pattern: str | None = MISSING  # file of an image, such as '{id}.jpg', with columns in braces; null: the cell
    image_separator: str | None = MISSING  # stands between several images in one cell; null: one image a cell
    records: str | None = MISSING  # key of a JSON file that holds the array of articles; null: the file is the array
    dialect: str | None = MISSING  # delimiter and quoting, such as tab-unquoted; null: told from the file

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dialect is not None and self.dialect not in DIALECTS:
            raise UserError(
                f"data.dialect={self.dialect}: expected null (told from the file) or {', '.join(DIALECTS)}."
            )
        check_pattern(self.image_pattern)
        if self.image_separator == "":
            raise UserError("data.image_separator='': expected the character between two images, such as ','.")


@dataclass
class TableReader:
    """Read a table of articles.

    Args:
        root: the table as the user gave it, or a pattern that names several files.
        columns: names of its columns.
        labels: the words that name each class; None: the rows have no labels.
        images: folder that the image column's paths start from; None: the table's own.
        reads_captions: take the sentence that describes the image from its column; else look for the images themselves.
        image_pattern, image_separator: see ImageCells.
        downloads: images that are named by their addresses are to be downloaded.
        records: key of a JSON file that holds the array of articles; None: the file is the array.
        dialect: one of DIALECTS; None: it is told from the file.
        reads_sides: read the side of each row from its column.
    """

    root: str
    columns: ColumnsConfig
    labels: LabelsConfig | None
    images: str | None
    reads_captions: bool
    image_pattern: str | None = None
    image_separator: str | None = None
    downloads: bool = False
    downloaded: dict[str, str] = field(default_factory=dict)  # see TakesDownloads
    not_downloaded: dict[str, tuple[str, str]] = field(default_factory=dict)
    records: str | None = None
    dialect: str | None = None
    reads_sides: bool = False

    revision = 2  # the same file gives other rows than with 1: stray quotation marks take in no neighbours

    def __post_init__(self) -> None:
        self._path = Path(self.root).expanduser().resolve()
        self._images = Path(self.images).expanduser().resolve() if self.images else fixed_folder(self._path)
        self._labels = None if self.labels is None else Labels(self.labels, self.columns.label)
        self._cells = {name: column for name, column in vars(self.columns).items() if column is not None}
        if self.labels is None:
            self._cells.pop("label", None)
        if not self.reads_sides:
            self._cells.pop("split", None)
        self._pictures = ImageCells(self._images, self._cells, self.image_pattern, self.image_separator)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that shape the articles, as plain values."""
        labels = {"labels": {}} if self._labels is None else self._labels.settings
        plain = {"reader": "table", **labels, "columns": self._cells, "captions": self.reads_captions}
        return plain if self.reads_captions else plain | self._pictures.settings

    @property
    def image_root(self) -> Path:
        """The resolved folder outside of which no image is read."""
        return self._images

    def items(self) -> Iterator[Row]:
        """Yield the rows of the table, one at a time.

        Raises:
            UserError: the table is missing, of an unknown kind, unreadable or cut off, or lacks a column.
        """
        if self.images and not self.reads_captions and not self._images.is_dir():
            raise UserError(f"data.images={self.images}: there is no such folder (looked at {self._images}).")
        pictures = set() if self.reads_captions else self._pictures.column_names
        return read_rows(
            self._path,
            self.root,
            self._check_columns,
            {*self._cells.values(), *pictures},
            records=self.records,
            dialect=self.dialect,
            known={} if self._labels is None else {self.columns.label: self._labels.named},
        )

    def stray(self) -> list[LeftOut]:
        """List what `items` left out: nothing, since a bad row is an item, too."""
        return []

    def signature(self, item: Row) -> Any:
        """Hash the row, and add size and times of its images."""
        number, content = item
        pictures: list[Any] = []
        if not self.reads_captions:
            with suppress(UnusableArticle):  # `read` gives the reason
                row = self._parse(number, content)
                pictures = [self._picture_signature(found) for found in self._pictures.find(row, number)]
            column = self._cells.get("image")
            if isinstance(content, dict) and column in content:
                content = content | {column: without_bytes(content[column])}
        # One picture is written as one: so were all, and prepared data of then are found again.
        files = None if not any(pictures) else pictures[0] if len(pictures) == 1 else pictures
        return [number, _digest(content), files]

    def read(self, item: Row) -> Article | LeftOut:
        """Read the article of a row, or give the reason why there is none."""
        number, content = item
        try:
            return self._read(number, content)
        except UnusableArticle as error:
            place = f"{self._path.name} row {number}" if isinstance(number, int) else number
            return LeftOut(place, error.reason, error.detail)

    def addresses(self, item: Row, article: Article) -> dict[str, str]:
        """List the addresses of the article's images; an address that several articles name is one image."""
        return {url: url for url in article.image_urls}

    def _read(self, number: int | str, content: Any) -> Article:
        row = self._parse(number, content)
        cells = {name: row.get(column) for name, column in self._cells.items()}
        own_id = as_text(cells.get("id"))
        article_id = own_id or (f"row {number}" if isinstance(number, int) else number)
        title, text, date = as_text(cells.get("title")), as_text(cells.get("text")), cells.get("date")
        visual = self._caption(cells) if self.reads_captions else self._images_of(number, row)
        # What a download brings is not known yet when the addresses are listed.
        awaited = self.downloads and bool(visual.get("image_urls"))
        require_words(article_id, title, text, has_visual=visual["no_visual"] is None or awaited)
        return Article(
            id=article_id,
            label=None if self._labels is None else self._labels.find(cells["label"]),
            title=title,
            text=text,
            source=as_text(cells.get("source")) or None,
            date=_read_date(date),
            date_written=written_date(date),
            made_up_id=not own_id,
            side=self._side(row),
            **visual,
        )

    def _side(self, row: dict[str, Any]) -> str | None:
        column = self._cells.get("split")
        return None if column not in row else read_side(as_text(row[column]), f"column {column}")

    def _parse(self, number: int | str, content: Any) -> dict[str, Any]:
        column = self._cells.get("image")
        content, picture = take_stored(content, None if self.reads_captions else column)
        row = parse_row(number, content)
        return row if picture is None else row | {column: picture}

    def _caption(self, cells: dict[str, Any]) -> dict[str, Any]:
        """Read the sentence that describes the image, as fields of the article."""
        caption = as_text(cells.get("caption"))
        reason = None if caption else ("no caption", f"column {self.columns.caption} is empty or absent")
        return {"caption": caption, "no_visual": reason}

    def _images_of(self, number: int | str, row: dict[str, Any]) -> dict[str, Any]:
        """Find the images of a row, as fields of the article."""
        pictures: list[Picture] = []
        lost: list[tuple[str, str]] = []
        urls = []
        for found in self._pictures.find(row, number):
            if isinstance(found, Address):
                urls.append(found.url)
                if found.url in self.downloaded:
                    pictures.append(Path(self.downloaded[found.url]))
                else:
                    lost.append(self.not_downloaded.get(found.url) or self._explain_address(found))
            elif isinstance(found, LostImage):
                lost.append((found.reason, found.detail))
            else:
                pictures.append(found)
        no_visual = None if pictures else lost[0] if lost else self._pictures.explain_nothing()
        return {
            "images": tuple(pictures),
            "no_visual": no_visual,
            "image_urls": tuple(urls),
            "lost_images": tuple(lost),
        }

    def _explain_address(self, found: Address) -> tuple[str, str]:
        how = "python -m safe_exp.prepare fetches it" if self.downloads else "data.download_images=true fetches it"
        if found.expected is not None:
            return NO_FILE, f"{found.expected}; {how} by its address"
        return "image is an address", f"{as_text(found.url[:100])}; {how}"

    def _picture_signature(self, found: FoundImage) -> Any:
        if isinstance(found, Address):
            return self.downloaded.get(found.url) or self.not_downloaded.get(found.url)
        return self._pictures.signature(found)

    def _check_columns(self, present: list[str]) -> None:
        """Refuse a table that lacks its label, its words, or a column that the user named.

        Raises:
            UserError: a column is missing, and the message lists those that are there; or two have one name.
        """
        if not any(present):
            raise UserError(f"data.root={self.root}: it names no columns. Is the file empty?")
        counts = Counter(present)
        twice = next((column for column in self._cells.values() if counts[column] > 1), None)
        if twice is not None:
            raise UserError(
                f"data.root={self.root}: {counts[twice]} columns have the name {twice}, so it cannot be told which is "
                "meant. Rename one of them."
            )
        missing = [c for name, c in self._cells.items() if c not in present and (c != name or name == "label")]
        folded = {column.casefold(): column for column in present}
        for name, column in self._cells.items():
            if column not in present and column.casefold() in folded:
                raise UserError(
                    f"data.root={self.root}: there is no column {column}, but {folded[column.casefold()]}. Take it by "
                    f"data.columns.{name}={folded[column.casefold()]}, or leave it out by data.columns.{name}=null."
                )
        if not missing and not {self._cells.get("title"), self._cells.get("text")} & set(present):
            missing = ["title or text"]
        if missing:
            raise UserError(
                f"data.root={self.root}: there is no column {missing[0]}. It has {', '.join(present[:30])}. Name its "
                "columns, as in data.columns.label=verdict data.columns.text=body; null where there is none."
            )
        if not self.reads_captions:
            self._pictures.check_columns(present, list(vars(self.columns)))


def _digest(content: Any) -> str:
    """SHA-256 of the content of a row; bytes are hashed as they are, since a picture would be four times as long."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, bytes):
            digest.update(b"b%d:" % len(value))
            digest.update(value)
        elif isinstance(value, dict):
            digest.update(b"{%d:" % len(value))
            for name, inner in value.items():
                add(name)
                add(inner)
        else:
            text = repr(value).encode("utf-8", "replace")
            digest.update(b"r%d:" % len(text))
            digest.update(text)

    add(content)
    return digest.hexdigest()


def _read_date(cell: Any) -> str | None:
    if hasattr(cell, "isoformat"):  # Parquet has a type for dates
        return iso_date(cell.isoformat())
    if isinstance(cell, str) and (number := _DECIMAL_COMMA.fullmatch(cell.strip())):
        return iso_date(".".join(number.groups()))
    return iso_date(cell)


def _reader(data: TableDataConfig, labels: LabelsConfig | None, caption_file: str | None) -> TableReader:
    # A config that an earlier version stored lacks some keys.
    return TableReader(
        data.root,
        data.columns,
        labels,
        data.images,
        reads_captions=caption_file is not None,
        image_pattern=getattr(data, "image_pattern", None),
        image_separator=getattr(data, "image_separator", None),
        downloads=getattr(data, "download_images", False),
        records=getattr(data, "records", None),
        dialect=getattr(data, "dialect", None),
        reads_sides=getattr(data, "split", None) in (SplitMethod.given, SplitMethod.given.value),
    )


readers.add(DataKind("table", TableDataConfig, _reader))
