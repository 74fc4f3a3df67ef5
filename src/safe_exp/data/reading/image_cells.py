"""Image cells of a table: the pictures of a row, by path, id, address or content, looked for below one folder only."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from safe_exp.data.reading.articles import Picture, StoredPicture
from safe_exp.data.reading.cleaning import EMPTY, as_text
from safe_exp.system.errors import UserError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")  # tried in this order where a name has none of them
ENDINGS_TRIED = ("", *ENDINGS, *map(str.upper, ENDINGS))
BRACES = re.compile(r"\{([^{}]*)\}")
ADDRESS = re.compile(r"https?://", re.IGNORECASE)
LONGEST_PATH = 4096  # bytes; a longer binary cell is a picture
SHOWN = 100  # characters of a name in a message
MAX_NESTING = 3  # lists in lists of pictures


@dataclass(frozen=True)
class Address:
    """A picture that a row names by its address."""

    url: str
    expected: str | None = None  # a file that was looked for before, and is not there


NO_FILE = "no image file"


class LostImage(NamedTuple):
    """A picture that a row names and that is not there."""

    reason: str  # one of a few fixed phrases, to count by
    detail: str


FoundImage = Picture | Address | LostImage


def check_pattern(pattern: str | None) -> None:
    """Refuse a pattern that gives every row the same name, or whose braces do not close.

    Raises:
        UserError: as above; the message shows a pattern.
    """
    if pattern is None:
        return
    if set("{}") & set(BRACES.sub("", pattern)):
        raise UserError(f"data.image_pattern={pattern}: a brace has no partner. Expected a name such as '{{id}}.jpg'.")
    if not BRACES.search(pattern):
        raise UserError(
            f"data.image_pattern={pattern}: all rows would have the same image. Name a column in braces, as in "
            "'{id}.jpg'."
        )


@dataclass
class ImageCells:
    """Finds the pictures of a table's rows.

    Args:
        folder: the resolved folder outside of which nothing is looked for.
        columns: the table's columns by their keys in `data.columns`; a key without a column is missing.
        pattern: name of an image's file with columns in braces, by their key or by their own name; None: the cell.
        separator: stands between several pictures in one cell; None: a text is one picture.
    """

    folder: Path
    columns: Mapping[str, str]
    pattern: str | None = None
    separator: str | None = None

    def __post_init__(self) -> None:
        self._resolved: dict[str, Path] = {}  # folders of images, links followed
        braces = [] if self.pattern is None else BRACES.findall(self.pattern)
        self._braces = {name: self.columns.get(name, name) for name in braces}  # the column that each stands for

    @property
    def settings(self) -> dict[str, str]:
        """Settings that are not at their defaults."""
        given = {"image_pattern": self.pattern, "image_separator": self.separator}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def column_names(self) -> set[str]:
        """Names of the columns that are read."""
        return {*self._braces.values(), *([self.columns["image"]] if "image" in self.columns else [])}

    def check_columns(self, present: list[str], keys: list[str]) -> None:
        """Refuse a pattern that names a column which the table does not have.

        Args:
            present: names of the table's columns.
            keys: those of `data.columns`.
        Raises:
            UserError: as above; the message lists what can be named.
        """
        for name, column in self._braces.items():
            if column not in present:
                known = [key for key in keys if self.columns.get(key) in present]
                own = [column for column in present if column not in known]
                raise UserError(
                    f"data.image_pattern={self.pattern}: {{{name}}} is neither a column of the table nor a key of "
                    f"data.columns that has one. Expected one of {', '.join([*known, *own[:30]])}."
                )

    def find(self, row: Mapping[str, Any], number: int | str) -> list[FoundImage]:
        """Find the pictures that a row names, in their order; each once.

        Args:
            row: cells by column.
            number: of the row, which is the name of a picture without a path.
        """
        entries = list(_entries(row.get(self.columns.get("image", "")), self.separator, f"row {number}"))
        if self.pattern is None or "image" in self._braces:
            return list(dict.fromkeys(self._find(entry, self._name(row, entry)) for entry in entries))
        name = self._name(row, "")
        if name is None:
            return []
        found = self._locate(name)
        # A cell beside the pattern may still hold the picture itself or its address.
        others = [item for item in (self._find(entry, None) for entry in entries) if not isinstance(item, LostImage)]
        if isinstance(found, LostImage) and found.reason == NO_FILE:
            others = [replace(item, expected=found.detail) if isinstance(item, Address) else item for item in others]
        return list(dict.fromkeys(others)) if isinstance(found, LostImage) and others else [found]

    def signature(self, found: FoundImage) -> Any:
        """Return plain values that change with a picture: size and times of a file, a hash of a content."""
        if isinstance(found, StoredPicture):
            return hashlib.sha256(found.content).hexdigest()
        if isinstance(found, Path):
            try:
                stat = os.stat(found)
            except OSError:  # gone since it was found
                return None
            return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        return None

    def explain_nothing(self) -> tuple[str, str]:
        """Give the reason, and a detail, why a row names no picture."""
        names = dict.fromkeys(self._braces.values()) or [self.columns.get("image")]
        return "no image", f"column {' or '.join(map(str, names))} is empty or absent"

    def _find(self, entry: str | StoredPicture | LostImage, name: str | None) -> FoundImage:
        """Find the picture of one entry of the image cell, by this name of its file; None: not as a file."""
        if not isinstance(entry, str):
            return entry
        found = LostImage(*self.explain_nothing()) if name is None else self._locate(name)
        return Address(entry) if isinstance(found, LostImage) and ADDRESS.match(entry) else found

    def _name(self, row: Mapping[str, Any], entry: str | StoredPicture | LostImage) -> str | None:
        """Fill the pattern for one entry of the image cell; None where a column in braces is empty."""
        if not isinstance(entry, str):
            return None
        if self.pattern is None:
            return entry
        filled = {name: entry if name == "image" else _plain(row.get(column)) for name, column in self._braces.items()}
        return BRACES.sub(lambda match: filled[match[1]], self.pattern) if all(filled.values()) else None

    def _locate(self, name: str) -> Path | LostImage:
        """Look for the file of this name below the folder; its usual endings may be left out."""
        outside = linked = False
        endings = ENDINGS_TRIED if os.path.splitext(name)[1].casefold() not in ENDINGS else ("",)
        for place in self._places(name):
            if not _lies_below(place, self.folder):
                outside = True
                continue
            for ending in endings:
                if os.path.isfile(path := place + ending):
                    if inside := self._follow_links(path):
                        return inside
                    linked = True
        shown = as_text(name[:SHOWN])
        if linked:
            return LostImage(
                "a link leads outside data.images",
                f"{shown}; give the folder that it leads to as data.images, or copy the files",
            )
        if outside or (name.startswith("/") and os.path.isfile(name)):
            return LostImage("image lies outside data.images", shown)
        several = next((mark for mark in ",|;" if mark in name and mark != self.separator), None)
        hint = "" if several is None else f"; if these are several images, data.image_separator='{several}'"
        wanted = shown if endings == ("",) else f"{shown}.jpg or the like"
        return LostImage(NO_FILE, f"expected {wanted} below data.images ({self.folder.name}){hint}")

    def _places(self, name: str) -> Iterator[str]:
        """Yield the paths that a name may mean; a leading slash is the top of the folder, as in published lists."""
        for spelled in dict.fromkeys((name, name.replace("\\", "/"))):
            if spelled.startswith("/") and _lies_below(absolute := os.path.normpath(spelled), self.folder):
                yield absolute
            yield os.path.normpath(os.path.join(self.folder, spelled.lstrip("/")))

    def _follow_links(self, path: str) -> Path | None:
        """Return the file itself, links followed; None if one leads out of the folder."""
        parent, name = os.path.split(path)
        try:
            if os.path.islink(path):
                file = Path(path).resolve()
            else:
                if parent not in self._resolved:  # once a folder: a table has a few, and 100,000 images in each
                    self._resolved[parent] = Path(parent).resolve()
                file = self._resolved[parent] / name
        except (OSError, RuntimeError):  # a circle of links
            return None
        return file if file.is_relative_to(self.folder) else None


def take_stored(content: Any, column: str | None) -> tuple[Any, bytes | None]:
    """Take a picture's bytes out of a row, since the other binary cells of a row are texts in some encoding.

    Args:
        content: of a row, as `table_formats.read_rows` yields it.
        column: name of the image column.
    Returns:
        The row, with None in that column if it held a picture; and the picture.
    """
    cell = content.get(column) if isinstance(content, dict) else None
    if not isinstance(cell, bytes) or not _is_picture(cell):
        return content, None
    return content | {column: None}, cell


def without_bytes(cell: Any) -> Any:
    """Replace long binary values in a cell by their hashes, which are faster to compare; paths stay as they are."""
    if isinstance(cell, bytes) and len(cell) > LONGEST_PATH:
        return hashlib.sha256(cell).hexdigest()
    if isinstance(cell, dict):
        return {key: without_bytes(value) for key, value in cell.items()}
    if isinstance(cell, list):
        return [without_bytes(value) for value in cell]
    return cell


def _entries(cell: Any, separator: str | None, row: str, nesting: int = 0) -> Iterator[str | StoredPicture | LostImage]:
    """Yield the pictures that a cell names: texts without blanks around them, or contents."""
    if isinstance(cell, list) and nesting < MAX_NESTING:
        for value in cell:
            yield from _entries(value, separator, row, nesting + 1)
    elif isinstance(cell, dict):
        yield from _struct_entries(cell, separator, row, nesting)
    elif isinstance(cell, bytes):
        yield StoredPicture(row, cell)
    elif isinstance(cell, str):
        listed = _json_list(cell)
        if listed is not None and nesting < MAX_NESTING:
            yield from _entries(listed, separator, row, nesting + 1)
            return
        for part in [cell] if separator is None else cell.split(separator):
            if (name := part.strip()).casefold() not in EMPTY:
                yield name
    elif text := _plain(cell):
        yield text


def _struct_entries(
    cell: dict[str, Any], separator: str | None, row: str, nesting: int
) -> Iterator[str | StoredPicture | LostImage]:
    """Yield the picture of a struct {bytes, path}, as Hugging Face's data sets store one."""
    content, path = cell.get("bytes"), cell.get("path")
    named = path.strip() if isinstance(path, str) else ""
    if isinstance(content, bytes) and (content or not named):
        yield StoredPicture(as_text(named[:SHOWN]) or row, content)
    elif named:
        yield from _entries(named, separator, row, nesting + 1)
    elif cell.keys() - {"bytes", "path"}:
        keys = ", ".join(as_text(key)[:40] for key in list(cell)[:5])
        yield LostImage("image cell cannot be read", f"{row}: expected a path, or bytes and path; found {keys}")


def _json_list(text: str) -> list[Any] | None:
    """Parse a text that is a list in JSON; None for others, such as a file named [a]."""
    if not (text.lstrip().startswith("[") and text.rstrip().endswith("]")):
        return None
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return listed if isinstance(listed, list) else None


def _plain(cell: Any) -> str:
    """Turn a cell into a part of a file's name: unlike in a text, nothing in it is an HTML remnant."""
    if isinstance(cell, str):
        return "" if cell.strip().casefold() in EMPTY else cell.strip()
    return str(cell) if isinstance(cell, bool) else as_text(cell)


def _is_picture(cell: bytes) -> bool:
    """Tell a picture from a path: all accepted formats have control characters in their first bytes, paths nowhere."""
    return len(cell) > LONGEST_PATH or any(byte < 0x20 for byte in cell[:64])


def _lies_below(path: str, folder: Path) -> bool:
    """Tell if a normalised path lies in the folder, by its words alone."""
    return path.startswith(str(folder).rstrip(os.sep) + os.sep)
