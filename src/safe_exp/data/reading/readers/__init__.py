"""Readers: each kind of data set, `data=<name>`, is one module of this package.

A reader lists the items of its input, which is cheap, and reads an item in any process: as an article, or as a record
of why it is left out.

Every module is imported when a command starts. Packages that take time to import, such as pyarrow, are imported where
they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from safe_exp.config import CaptionerConfig, DataConfig
from safe_exp.config.checks import require_type
from safe_exp.config.data import LabelsConfig, SplitMethod
from safe_exp.data.reading.articles import Article, ImageRoot, LeftOut
from safe_exp.system.registry import Registry

PART_ARTICLES = 256  # articles that a process reads, holds and writes at a time, and loses when it is interrupted


@dataclass(frozen=True)
class Part:
    """A part of the input, which is prepared as one."""

    number: int  # from 0
    items: Sequence[Any]  # as the reader's `read` takes them; light, and can be sent to another process


class Reader(Protocol):
    """Reads one format of data set.

    It may have a `revision`, a number that is raised when the same files are read otherwise: see `find_revision`.
    """

    root: str  # the input, as messages name it

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that shape the articles, as plain values; no paths of this machine."""

    @property
    def image_root(self) -> ImageRoot:
        """The resolved folder outside of which no image is read; several, where articles come from several."""

    def items(self) -> Iterator[Any]:
        """List the items that may be articles, in an order that is the same on every machine.

        Raises:
            UserError: there is no input of the expected kind.
        """

    def stray(self) -> list[LeftOut]:
        """List what `items` left out; complete once `items` is exhausted."""

    def signature(self, item: Any) -> Any:
        """Return plain values that change with the files of an item; cheap, without reading them."""

    def read(self, item: Any) -> Article | LeftOut:
        """Read an item as an article, or give the reason why it is none."""


def find_revision(reader: Reader) -> int:
    """Find the revision of a reader; prepared data of an earlier one are made anew. 1 where it has none."""
    return getattr(reader, "revision", 1)


@runtime_checkable
class TakesDownloads(Reader, Protocol):
    """A reader of articles that may name their images by their addresses; the images are downloaded for it."""

    downloaded: dict[str, str]  # the downloaded files, by the keys of `addresses`
    not_downloaded: dict[str, tuple[str, str]]  # the reason why there is no such file, and a detail

    def addresses(self, item: Any, article: Article) -> dict[str, str]:
        """List the addresses of the article of an item that have no file, by keys that tell images apart."""


@dataclass(frozen=True)
class DataKind:
    """A kind of data set, as `data=<name>` chooses it.

    Args:
        config: type of its settings, `schema/data/<name>_schema` in conf/.
        build: makes the reader from such settings, reading nothing yet. It also gets the words that name each class
            (None where articles have no labels), and the name of the file with the sentence that describes an image
            (None where the image itself is read).
        write: makes the articles, unless they are there already; None where they come from the user.
        items_are_ids: an item is the id of its article, so that one article is found without reading the others.
    """

    name: str
    config: type[DataConfig]
    build: Callable[[Any, LabelsConfig | None, str | None], Reader]
    write: Callable[[Any], Any] | None = None
    items_are_ids: bool = False


readers: Registry[DataKind] = Registry("data", __name__)


def build_reader(data: DataConfig, captioner: CaptionerConfig, labelled: bool = True) -> Reader:
    """Build the reader of `data.root` that `data=…` asks for; without `labelled`, of articles without labels and sides.

    Raises:
        UserError: there is no such kind of data set, `data` lacks its settings, or its articles cannot be written.
    """
    kind = readers[data.name]
    require_type("data", data, kind.config)
    if kind.write is not None:
        kind.write(data)
    if not labelled:
        return kind.build(without_sides(data), None, captioner.caption_file)
    return kind.build(data, data.labels, captioner.caption_file)


def without_sides(data: DataConfig) -> DataConfig:
    """Return the same settings for reading `data.root` alone, where no article has a given side."""
    return replace(data, split=SplitMethod.random, val_root=None, test_root=None, drop_leaks=False)


def cut_into_parts(reader: Reader) -> Iterator[Part]:
    """Yield the reader's items, PART_ARTICLES at a time."""
    items: list[Any] = []
    number = 0
    for item in reader.items():
        items.append(item)
        if len(items) == PART_ARTICLES:
            yield Part(number, items)
            items, number = [], number + 1
    if items:
        yield Part(number, items)
