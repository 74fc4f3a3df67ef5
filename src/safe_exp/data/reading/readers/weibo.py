"""Weibo (Jin et al. 2017) in its own layout: three lines a post, class and side by file, a folder of images a class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from omegaconf import MISSING

from safe_exp.config.data import DataConfig, LabelsConfig, SplitMethod
from safe_exp.data.reading.articles import Article, LeftOut
from safe_exp.data.reading.readers import DataKind, readers
from safe_exp.data.reading.readers.table import ColumnsConfig, TableReader
from safe_exp.data.reading.untrusted import UnusableArticle, decode_text
from safe_exp.system.errors import UserError

SIDES, KINDS = ("train", "test"), ("rumor", "nonrumor")
TWEETS = "tweets"  # the folder of the posts
FIELDS = 15  # of a post's first line: id, user, address, …, time, …, program
TIME = -11  # position of the time, counted from the end, since a user's name may hold the separator
SEPARATOR = "|"
MAX_FILE_BYTES = 1 << 30  # the largest published file has 3 MB
# A rumour names its user and a true post does not, so that users would give the labels away: there is no source.
COLUMNS = ColumnsConfig("id", None, "text", "label", "image", "caption", source=None, date="date", split="split")
LAYOUT = (
    "Expected a folder with tweets/train_rumor.txt, tweets/train_nonrumor.txt, tweets/test_rumor.txt, "
    "tweets/test_nonrumor.txt, rumor_images and nonrumor_images."
)

Item: TypeAlias = tuple[int, str, Any]  # number from 1, its place for people, and a row as TableReader reads it


@dataclass
class WeiboDataConfig(DataConfig):
    """Posts of Weibo, and the folders of their images."""

    images: str | None = MISSING  # folder that holds rumor_images and nonrumor_images; null: data.root


class WeiboReader:
    """Read posts; as rows of a table, once their lines are put together.

    Args:
        root: the folder as the user gave it.
        images: folder that holds the folders of images; None: the root.
        labels: the words for each class, of which rumor and nonrumor are in the names of the files; None: no labels.
        reads_captions: look for no images. There are no sentences about them.
        reads_sides: take each post's side from the name of its file.
    """

    revision = TableReader.revision

    def __init__(
        self, root: str, images: str | None, labels: LabelsConfig | None, reads_captions: bool, reads_sides: bool
    ) -> None:
        self.root = root
        self._root = Path(root).expanduser().resolve()
        self._table = TableReader(
            root, COLUMNS, labels, images or root, reads_captions, image_separator=SEPARATOR, reads_sides=reads_sides
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that shape the articles, as plain values."""
        return self._table.settings | {"reader": "weibo"}

    @property
    def image_root(self) -> Path:
        """The resolved folder outside of which no image is read."""
        return self._table.image_root

    def items(self) -> Iterator[Item]:
        """Yield the posts of each file: training before test, rumours before the others.

        Raises:
            UserError: there is no such folder, it lacks a file, or a file cannot be read.
        """
        number = 0
        for path in self._files():
            side, _, kind = path.stem.partition("_")
            folder = f"{kind}_images"
            names = _list_names(self.image_root / folder)
            for line, post in read_posts(_read_lines(path, self.root)):
                number += 1
                yield number, f"{path.name} line {line}", _as_row(post, side, kind, folder, names)

    def stray(self) -> list[LeftOut]:
        """List what `items` left out: nothing, since a post that lacks a line is an item, too."""
        return []

    def signature(self, item: Item) -> Any:
        """Hash the post, and add size and times of its images."""
        number, _, row = item
        return self._table.signature((number, row))

    def read(self, item: Item) -> Article | LeftOut:
        """Read a post as an article, or give the reason why it is none."""
        number, place, row = item
        found = self._table.read((number, row))
        return replace(found, path=place) if isinstance(found, LeftOut) else found

    def _files(self) -> list[Path]:
        folder = self._root / TWEETS
        if not folder.is_dir():
            raise UserError(f"data.root={self.root} holds no folder {TWEETS} (looked at {self._root}). {LAYOUT}")
        paths = [folder / f"{side}_{kind}.txt" for side in SIDES for kind in KINDS]
        lacking = [path.name for path in paths if not path.is_file()]
        if lacking:
            raise UserError(f"data.root={self.root} lacks {TWEETS}/{', '.join(lacking)}. {LAYOUT}")
        return paths


def read_posts(lines: Sequence[bytes]) -> Iterator[tuple[int, list[bytes] | UnusableArticle]]:
    """Yield each post with the number of its first line, from 1: its three lines, or the reason why it has fewer.

    A post begins with a line of FIELDS fields, so that one that lacks a line costs no other. Up to three lines that
    belong to no post count as one that lost its first line.
    """
    heads = [number for number, line in enumerate(lines) if _is_head(line)]
    starts = [0, *(_end_of_post(lines, head) for head in heads)]
    for start, stop in zip(starts, [*heads, len(lines)], strict=True):
        if start < stop:
            yield from _strays(lines, start, stop)
        if stop < len(lines):
            yield stop + 1, _take_post(lines, stop)


def _end_of_post(lines: Sequence[bytes], head: int) -> int:
    """Find the line after a post: the third from its head, or the next head."""
    following = range(head + 1, min(head + 3, len(lines)))
    return next((number for number in following if _is_head(lines[number])), following.stop)


def _take_post(lines: Sequence[bytes], head: int) -> list[bytes] | UnusableArticle:
    post = list(lines[head : _end_of_post(lines, head)])
    if len(post) == 3 and _is_addresses(post[1]):
        return post
    lost = "text" if len(post) == 2 and _is_addresses(post[1]) else "addresses of images"
    return UnusableArticle("post lacks one of its three lines", f"there is no line of its {lost}")


def _strays(lines: Sequence[bytes], start: int, stop: int) -> Iterator[tuple[int, UnusableArticle]]:
    """Yield a reason for each three lines, or part of them, that belong to no post; blank lines are none."""
    while start < stop and not lines[stop - 1].strip():
        stop -= 1
    for number in range(start, stop, 3):
        detail = f"expected {FIELDS} fields with {SEPARATOR} between them, the id first"
        yield number + 1, UnusableArticle("post lacks its first line", detail)


def _is_head(line: bytes) -> bool:
    """Tell if a line is the first of a post; a line of many addresses is none."""
    return line.count(SEPARATOR.encode()) >= FIELDS - 1 and b"://" not in line.split(SEPARATOR.encode(), 1)[0]


def _is_addresses(line: bytes) -> bool:
    """Tell if a line has the addresses of images; there is always a last one, null."""
    return line.strip().lower().endswith(b"null") or b"://" in line


def _as_row(
    post: list[bytes] | UnusableArticle, side: str, kind: str, folder: str, names: Mapping[str, str]
) -> dict[str, str] | UnusableArticle:
    """Put the lines of a post into the cells of a row.

    Args:
        names: names of the files in `folder`, by their stems in lower case.
    """
    if isinstance(post, UnusableArticle):
        return post
    try:
        head, addresses, text = (decode_text(line, "post", "post") for line in post)
    except UnusableArticle as error:
        return error
    fields = head.split(SEPARATOR)
    images = []
    for address in addresses.strip().split(SEPARATOR):
        name = address.strip().rpartition("/")[2]
        if name and name.casefold() != "null":
            images.append(f"{folder}/{names.get(os.path.splitext(name)[0].casefold(), name)}")
    return {
        "id": fields[0], "text": text.strip(), "label": kind, "image": SEPARATOR.join(images), "date": fields[TIME],
        "split": side,
    }  # fmt: skip


def _list_names(folder: Path) -> dict[str, str]:
    """List the files of a folder by their stems in lower case: some are not spelled as in their addresses."""
    try:
        return {os.path.splitext(name)[0].casefold(): name for name in sorted(os.listdir(folder))}
    except OSError:  # no such folder: each post says so of its images
        return {}


def _read_lines(path: Path, root: str) -> list[bytes]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(f"data.root={root}: {path.name} cannot be read ({error.strerror}).") from error
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"data.root={root}: {path.name} has more than {MAX_FILE_BYTES / 1e9:.0f} GB. {LAYOUT}")
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return lines if lines[-1] else lines[:-1]  # after the last line end there is no line


def _reader(data: WeiboDataConfig, labels: LabelsConfig | None, caption_file: str | None) -> WeiboReader:
    given = data.split is SplitMethod.given
    return WeiboReader(data.root, data.images, labels, reads_captions=caption_file is not None, reads_sides=given)


readers.add(DataKind("weibo", WeiboDataConfig, _reader))
