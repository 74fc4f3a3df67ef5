"""Given sides in files or folders of their own: data.root, data.val_root and data.test_root, read as one data set."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

from safe_exp.config import CaptionerConfig, DataConfig
from safe_exp.data.reading.articles import Article, LeftOut
from safe_exp.data.reading.readers import (
    Reader,
    TakesDownloads,
    build_reader,
    find_revision,
    readers,
    without_sides,
)
from safe_exp.system.errors import UserError

ROOT_KEYS = {"train": "root", "val": "val_root", "test": "test_root"}  # keys of DataConfig

Item: TypeAlias = tuple[str, Any]  # a key of SidesReader.readers, and an item of that reader


def build_given_reader(data: DataConfig, captioner: CaptionerConfig) -> Reader:
    """Build the reader of `data.root`, with those of `data.val_root` and `data.test_root` where they are given.

    Raises:
        UserError: as `build_reader` does; or one root holds another, or the articles are made and not given.
    """
    roots = given_roots(data)
    reader = build_reader(data, captioner)
    if len(roots) == 1:
        return reader
    kind = readers[data.name]
    if kind.write is not None:
        raise UserError(
            f"data={data.name} makes its articles; data.val_root and data.test_root are for articles of your own, as "
            "in data=table data.root=FILE data.test_root=FILE."
        )
    _require_apart(roots)
    others = {
        side: build_reader(replace(without_sides(data), root=root), captioner)
        for side, root in roots.items()
        if side != "train"
    }
    return SidesReader({"train": reader, **others}, names_by_place=kind.items_are_ids)


def given_roots(data: DataConfig) -> dict[str, str]:
    """Collect the roots that `data` names, by the side whose articles they hold."""
    named = {side: getattr(data, key) for side, key in ROOT_KEYS.items()}
    return {side: root for side, root in named.items() if root is not None}


@dataclass
class SidesReader:
    """Read the articles of several roots, each with its side.

    An article of data.root that names a side by itself, as by a table's column, keeps it. Where ids tell the place of
    an article below its root, or its row, the name of the root's side comes in front, as in test/fake/001.

    Args:
        readers: of each root, by the side that its articles stand on: train, the reader of data.root, and others.
        names_by_place: the id of an article is its place below the root.
    """

    readers: dict[str, Reader]
    names_by_place: bool
    root: str = field(init=False)  # of the training articles

    def __post_init__(self) -> None:
        self.root = self.readers["train"].root

    @property
    def revision(self) -> int:
        """The latest revision of a reader: see Reader."""
        return max(map(find_revision, self.readers.values()))

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that shape the articles, as plain values."""
        return {**self.readers["train"].settings, "roots": list(self.readers)}

    @property
    def image_root(self) -> tuple[Path, ...]:
        """The resolved folders outside of which no image is read; `read` checks that each article keeps to its own."""
        return tuple(dict.fromkeys(root for reader in self.readers.values() for root in image_roots(reader)))

    def items(self) -> Iterator[Item]:
        """Yield the items of each reader: train, val, test.

        Raises:
            UserError: as the readers do; the message names the key of the root.
        """
        for name, reader in self.readers.items():
            try:
                for item in reader.items():
                    yield name, item
            except UserError as error:
                raise UserError(str(error).replace("data.root", f"data.{ROOT_KEYS[name]}")) from error

    def stray(self) -> list[LeftOut]:
        """List what the readers left out."""
        return [_put_in_front(name, stray) for name, reader in self.readers.items() for stray in reader.stray()]

    def signature(self, item: Item) -> Any:
        """Return the signature of an item, with its root."""
        name, inner = item
        return [name, self.readers[name].signature(inner)]

    def read(self, item: Item) -> Article | LeftOut:
        """Read an item as an article on its side, or give the reason why it is none."""
        name, inner = item
        reader = self.readers[name]
        found = reader.read(inner)
        if isinstance(found, LeftOut):
            return _put_in_front(name, found)
        side = (found.side or name) if name == "train" else name
        article_id = f"{name}/{found.id}" if self.names_by_place or found.made_up_id else found.id
        article = replace(found, id=article_id, side=side)
        files = (image for image in article.images if isinstance(image, Path))
        outside = next((file for file in files if _is_outside(file, reader, self.readers.values())), None)
        if outside is None:
            return article
        return replace(article, images=(), no_visual=("image file lies outside data.root", outside.name))


def readers_of_one_root(reader: Reader) -> list[Reader]:
    """List the readers of which `reader` is made, that of data.root first; itself, if it reads one root."""
    return list(reader.readers.values()) if isinstance(reader, SidesReader) else [reader]


def _put_in_front(name: str, left_out: LeftOut) -> LeftOut:
    return replace(left_out, path=f"{name}/{left_out.path}")


def image_roots(reader: Reader) -> tuple[Path, ...]:
    """List the resolved folders outside of which `reader` reads no image."""
    root = reader.image_root
    return root if isinstance(root, tuple) else (root,)


def _is_outside(image: Path, own: Reader, others: Iterable[Reader]) -> bool:
    """Tell if an image lies in the folder of another reader and not in that of its own, nor among its own downloads.

    One that lies in no folder at all is refused later, when images are opened by the list of all folders.
    """
    try:
        resolved = image.resolve()
    except (OSError, RuntimeError):  # a circle of links
        return True
    if any(resolved.is_relative_to(root) for root in image_roots(own)):
        return False
    if not any(resolved.is_relative_to(root) for other in others for root in image_roots(other)):
        return False
    return not (isinstance(own, TakesDownloads) and str(image) in own.downloaded.values())


def _require_apart(roots: dict[str, str]) -> None:
    """Refuse roots of which one is, or holds, a part of another: its articles would stand on two sides.

    Raises:
        UserError: two roots overlap; the message names both.
    """
    found = {side: _matches(root) for side, root in roots.items()}
    for one, other in combinations(roots, 2):
        if any(a.is_relative_to(b) or b.is_relative_to(a) for a in found[one] for b in found[other]):
            raise UserError(
                f"data.{ROOT_KEYS[one]}={roots[one]} and data.{ROOT_KEYS[other]}={roots[other]} overlap, so that an "
                "article would stand on two sides. Expected a file or folder of its own for each side."
            )


def _matches(root: str) -> list[Path]:
    """List the files or folders that a root names, resolved; a pattern names several."""
    path = Path(root).expanduser()
    names = [root] if path.exists() else glob.glob(str(path)) or [root]
    return [Path(name).expanduser().resolve() for name in names]
