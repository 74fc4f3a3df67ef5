"""Store of sequences of vectors or numbers on disk, one for each text or picture, computed once and mapped when read.

<home>/<name>-<first digits of the SHA-256 of the settings>/ holds settings.json and, for each group of sequences that
were computed together, their items one after the other (.npy; vectors in float16, numbers in int32) and an index
(.json) with keys, lengths and the checksum of the items. The index comes last, and each file appears whole or not at
all: a computation that is killed loses the group at hand, and goes on with the next one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from safe_exp.data.embedded import EmbeddedSentences
from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UserError
from safe_exp.system.files import (
    checksums,
    read_sealed_json,
    require_unchanged,
    whole_file,
    write_json,
    write_sealed_json,
)
from safe_exp.system.lock import LOCK_NAME, locked
from safe_exp.system.terminal import counting

log = logging.getLogger(__name__)

STORES = "vectors"  # folder within data.prepared, of all stores
GROUP = 128  # sequences computed together, kept in one file, and lost if the computation is killed

Item = TypeVar("Item")


class Sequenced(NamedTuple):
    """One text or picture as a sequence of vectors, or of numbers."""

    items: np.ndarray  # vectors (n, E), kept as float16; or numbers (n,) int32
    title: int = 0  # how many of them belong to a title
    cut: bool = False  # the text was longer


class _Place(NamedTuple):
    """Place of a sequence."""

    file: str  # name of its group, without a suffix
    start: int
    length: int
    title: int
    cut: bool


class StoredSequences(NamedTuple):
    """N sequences of a store, by row."""

    blocks: list[Tensor]  # mapped: (T, E) float16 or (T,) int32
    block: np.ndarray  # (N,) int64, the block of each sequence
    start: np.ndarray  # (N,) int64, its first row there
    widths: np.ndarray  # (N,) int64, its length
    titles: np.ndarray  # (N,) int64, items that belong to a title
    cut: np.ndarray  # (N,) bool: the text was longer
    dim: int  # E; 0 for numbers, and of a store that holds nothing

    @property
    def sentences(self) -> EmbeddedSentences:
        """Sequences of vectors, to be selected by row."""
        return EmbeddedSentences.from_places(self.blocks, self.block, self.start, self.widths, self.dim)

    def matrix(self) -> np.ndarray:
        """Copy sequences of numbers into one matrix (N, L) int32, filled up with 0."""
        matrix = np.zeros((len(self.widths), int(self.widths.max(initial=0))), np.int32)
        for row, (block, start, width) in enumerate(zip(self.block, self.start, self.widths, strict=True)):
            if width:
                matrix[row, :width] = self.blocks[block][start : start + width]
        return matrix


class VectorStore:
    """Sequences of vectors made with one set of settings, by key; a key is a hash of what the sequence is made of.

    Args:
        home: folder of all stores.
        settings: plain values that shape the sequences; `name` begins the folder's name.
    """

    def __init__(self, home: Path, settings: Mapping[str, Any]) -> None:
        self.folder = Path(home) / f"{settings['name']}-{json_digest(settings)[:16]}"
        self._settings = dict(settings)
        self._places: dict[str, _Place] = {}
        self._read: set[str] = set()  # groups whose index was read
        self._sound: set[str] = set()  # groups whose vectors were checked
        self._dim = 0  # E

    def missing(self, keys: Iterable[str]) -> list[str]:
        """List the keys that have no sequence yet, in their order, each once.

        The groups that hold the others are checked first: a damaged one is removed, and its keys are missing.
        """
        self._read_indices()
        wanted = list(dict.fromkeys(keys))
        files = {self._places[key].file for key in wanted if key in self._places} - self._sound
        for file in sorted(files):
            self._check(file)
        return [key for key in wanted if key not in self._places]

    def add(self, found: Mapping[str, Sequenced]) -> None:
        """Keep a group of sequences: numbers, or vectors that all have one length E.

        Raises:
            UserError: a number is too large for float16, vectors have another length, or the folder cannot be written.
        """
        if not found:
            return
        kind = next(iter(found.values())).items.dtype.kind
        with np.errstate(over="ignore"):  # refused below
            parts = [each.items.astype(np.float16 if kind == "f" else np.int32) for each in found.values()]
            flat = np.concatenate(parts)  # (T, E) or (T,)
        if not np.isfinite(flat).all():
            raise UserError(
                f"{self.folder}: a vector of the model is not finite in float16, in which vectors are kept: one of its "
                "numbers is beyond 65,504, or is none. Take another layer or model (vectors.layer, vectors.model, "
                "captioner.model)."
            )
        dim = flat.shape[1] if flat.ndim == 2 else 0
        if self._places and dim != self._dim:
            raise UserError(
                f"{self.folder}: vectors of {dim} numbers were computed, and those before have {self._dim}. Expected "
                "as many for each text or picture."
            )
        file = hashlib.sha256("\n".join(found).encode()).hexdigest()[:32]
        if not (self.folder / "settings.json").exists():
            write_json(self.folder / "settings.json", self._settings)  # for people who look into the folder
        with whole_file(self._vectors(file)) as draft:
            np.save(draft, flat, allow_pickle=False)
        index = {
            "dim": dim,
            "keys": list(found),
            "lengths": [len(each.items) for each in found.values()],
            "titles": [each.title for each in found.values()],
            "cut": [each.cut for each in found.values()],
            "files": checksums(self.folder, [self._vectors(file).name]),
        }
        write_sealed_json(self._index(file), index)
        self._note(file, index)
        self._sound.add(file)

    def open(self, keys: Sequence[str | None]) -> StoredSequences:
        """Map the sequences of these keys; the sequence of None is empty.

        Raises:
            KeyError: a key has no sequence; `missing` tells.
            UserError: another process has removed a group, which it found damaged.
        """
        files: dict[str, int] = {}
        empty = _Place("", 0, 0, 0, False)
        places = [empty if key is None else self._places[key] for key in keys]
        block = np.array([files.setdefault(p.file, len(files)) if p.file else 0 for p in places], np.int64)
        numbers = np.array([place[1:] for place in places], np.int64).reshape(len(places), 4)
        try:
            blocks = [_map_items(self._vectors(file)) for file in files]
        except FileNotFoundError as error:
            raise UserError(
                f"{error.filename}: the vectors were removed while they were read. Give the command again; they are "
                "computed again."
            ) from error
        start, widths, titles, cut = (np.ascontiguousarray(column) for column in numbers.T)
        return StoredSequences(blocks, block, start, widths, titles, cut.astype(bool), self._dim)

    def lengths(self, keys: Sequence[str]) -> list[int]:
        """List the lengths of the sequences of these keys.

        Raises:
            KeyError: a key has no sequence; `missing` tells.
        """
        return [self._places[key].length for key in keys]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from computing the same; where no lock can be had, it is done twice.

        Raises:
            UserError: the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.folder}: vectors cannot be stored here ({error.strerror or error}). Name a folder that you may "
                "write to and that has room, as in data.prepared=/tmp/prepared."
            ) from error
        with locked(self.folder / LOCK_NAME, "Another process is computing these vectors; waiting for it."):
            yield

    def _vectors(self, file: str) -> Path:
        return self.folder / f"{file}.npy"

    def _index(self, file: str) -> Path:
        return self.folder / f"{file}.json"

    def _read_indices(self) -> None:
        """Read the indices that were written since the last time; a damaged one is removed."""
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.glob("*.json")):
            # Drafts of whole_file start with a dot, and glob leaves them out.
            if path.name == "settings.json" or path.stem in self._read:
                continue
            try:
                self._note(path.stem, read_sealed_json(path)[0])
            except (OSError, ValueError, KeyError, TypeError) as error:
                self._remove(path.stem, error)

    def _note(self, file: str, index: Mapping[str, Any]) -> None:
        self._read.add(file)
        start = 0
        for key, length, title, cut in zip(index["keys"], index["lengths"], index["titles"], index["cut"], strict=True):
            self._places[key] = _Place(file, start, length, title, cut)
            start += length
        self._dim = index["dim"]

    def _check(self, file: str) -> None:
        try:
            require_unchanged(self.folder, read_sealed_json(self._index(file))[0]["files"])
            self._sound.add(file)
        except (OSError, ValueError, KeyError) as error:
            self._remove(file, error)

    def _remove(self, file: str, error: Exception) -> None:
        log.warning("%s is damaged (%s); its vectors are computed again.", self._vectors(file), error)
        for path in (self._index(file), self._vectors(file)):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        self._places = {key: place for key, place in self._places.items() if place.file != file}
        self._read.discard(file)


def fill_store(
    store: VectorStore,
    keys: Sequence[str],
    items: Callable[[], Iterable[tuple[str, Item]]],
    compute: Callable[[list[Item]], Sequence[Sequenced]],
    what: str,
    group: int = GROUP,
) -> None:
    """Compute the sequences that a store lacks, in one process at a time, and show the progress.

    Args:
        keys: of all texts or pictures.
        items: iterates over them with their keys; it is called if one is missing, and read a group at a time.
        compute: makes the sequences of a group of items.
        what: the description of the progress, such as "Computing vectors of texts".
        group: items given to `compute` at a time; the memory holds the sequences of one group.
    Raises:
        UserError: the model cannot be used, or the store cannot be written.
    """
    if not store.missing(keys):
        return
    with store.locked():
        missing = set(store.missing(keys))  # another process may have been faster
        done = len(set(keys)) - len(missing)
        if missing and done:
            log.info("%s: %s are there already.", what, f"{done:,}")
        with counting(log, what, len(missing)) as advance:
            left = _each_once(items() if missing else (), missing)
            while batch := dict(islice(left, group)):
                found = compute(list(batch.values()))
                store.add(dict(zip(batch, found, strict=True)))
                advance(len(batch))


def _each_once(items: Iterable[tuple[str, Item]], wanted: set[str]) -> Iterator[tuple[str, Item]]:
    """Yield the first item of each wanted key."""
    left = set(wanted)
    for key, item in items:
        if key in left:
            left.remove(key)
            yield key, item


def _map_items(path: Path) -> Tensor:
    """Map an .npy file of vectors (T, E) float16 or numbers (T,) int32. No file stays open: a store may have thousands.

    Raises:
        UserError: the file holds something else.
    """
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        offset = file.tell()  # a multiple of 64
    kind = {2: np.float16, 1: np.int32}.get(len(shape))
    if dtype != kind or fortran:
        raise UserError(f"{path}: expected vectors (T, E) float16 or numbers (T,) int32. Remove this folder.")
    tensor_type = torch.float16 if kind is np.float16 else torch.int32
    count, skipped = int(np.prod(shape)), offset // dtype.itemsize
    if not count:
        return torch.zeros(shape, dtype=tensor_type)
    items = torch.from_file(str(path), shared=False, size=skipped + count, dtype=tensor_type)
    return items[skipped:].view(shape)
