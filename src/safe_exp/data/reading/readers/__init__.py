"""Where articles come from. Each kind of data set, `data=<name>`, is one module of this package.

A reader cuts its input into parts, which are cheap to list and can be read in any process, and yields from each part
the articles that it holds and what had to be left out.

Every module is imported when a command starts. What takes time to import, such as pyarrow, is imported where it is
used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from safe_exp.config import CaptionerConfig, DataConfig
from safe_exp.config.data import LabelsConfig
from safe_exp.data.reading.articles import Article, LeftOut
from safe_exp.system.registry import Registry

PART_ARTICLES = 256  # what a process reads, keeps in memory and writes at a time; at most that much is done twice


@dataclass(frozen=True)
class Part:
    number: int
    items: Sequence[Any]  # as the reader's `read` takes them; light, and can be sent to another process


class Reader(Protocol):
    root: str  # the input, as messages name it

    @property
    def settings(self) -> dict[str, Any]:
        """What shapes the articles besides the input, as plain values; no paths of this machine."""

    @property
    def image_root(self) -> Path:
        """The resolved folder outside of which no image is read."""

    def items(self) -> Iterator[Any]:
        """What may be articles, in an order that is the same on every machine.

        Raises:
            UserError: there is no input of the expected kind.
        """

    def stray(self) -> list[LeftOut]:
        """What the listing itself had to leave out; known once `items` is exhausted."""

    def signature(self, item: Any) -> Any:
        """Plain values that change when what `read` reads of the item changes; cheap, without reading it."""

    def read(self, item: Any) -> Article | LeftOut: ...


@runtime_checkable
class TakesDownloads(Protocol):
    """A reader of articles that may name their image by its address; it is told what became of the download."""

    downloaded: dict[str, str]  # image file elsewhere, for items that have none beside
    not_downloaded: dict[str, tuple[str, str]]  # why there is no such file, and a detail


@dataclass(frozen=True)
class DataKind:
    """What `data=<name>` chooses.

    Args:
        config: type of its settings, `schema/data/<name>_schema` in conf/.
        build: makes the reader from such settings, reading nothing yet. Beside them it gets the words that name each
            class, None where articles have no labels; and the name of the file with the sentence that describes an
            image, None where the image itself is wanted.
        write: makes the articles, unless they are there already; None where they are somebody's own.
        items_are_ids: an item is the id of its article, so that one is found without reading the others.
    """

    name: str
    config: type[DataConfig]
    build: Callable[[Any, LabelsConfig | None, str | None], Reader]
    write: Callable[[Any], Any] | None = None
    items_are_ids: bool = False


readers: Registry[DataKind] = Registry("data", __name__)


def build_reader(data: DataConfig, captioner: CaptionerConfig, labelled: bool = True) -> Reader:
    """The reader that `data=…` asks for; without `labelled` it takes articles that nobody has judged.

    Raises:
        UserError: there is no such kind of data set, or its articles cannot be written.
    """
    kind = readers[data.name]
    if kind.write is not None:
        kind.write(data)
    return kind.build(data, data.labels if labelled else None, captioner.caption_file)


def parts(reader: Reader) -> Iterator[Part]:
    """The reader's items, PART_ARTICLES at a time."""
    items: list[Any] = []
    number = 0
    for item in reader.items():
        items.append(item)
        if len(items) == PART_ARTICLES:
            yield Part(number, items)
            items, number = [], number + 1
    if items:
        yield Part(number, items)
