"""Where articles come from: folders in FakeNewsNet's layout, or a table.

A reader cuts its input into parts, which are cheap to list and can be read in any process, and yields from each part
the articles that it holds and what had to be left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from safe_exp.config import CaptionerConfig, DataConfig, FileCaptionerConfig, TableDataConfig
from safe_exp.data.reading.articles import Article, LeftOut
from safe_exp.data.reading.folders import FolderReader
from safe_exp.data.reading.table import TableReader

PART_ARTICLES = 256  # what a process reads, keeps in memory and writes at a time; at most that much is done twice


@dataclass(frozen=True)
class Part:
    number: int
    items: Sequence[Any]  # as the reader's `read` takes them; light, and can be sent to another process


class Reader(Protocol):
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


def build_reader(data: DataConfig, captioner: CaptionerConfig, root: str, labelled: bool = True) -> Reader:
    """The reader that `data=…` asks for, on `root`; without `labelled` it takes articles that nobody has judged."""
    labels = data.labels if labelled else None
    if isinstance(data, TableDataConfig):
        return TableReader(root, data.columns, labels, data.images, isinstance(captioner, FileCaptionerConfig))
    caption_file = captioner.file_name if isinstance(captioner, FileCaptionerConfig) else None
    return FolderReader(root, labels, caption_file)


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
