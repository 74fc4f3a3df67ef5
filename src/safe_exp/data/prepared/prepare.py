"""Preparation of a data set: list its parts, make the missing ones in several processes, and join them.

A prepared data set lies in a folder of its own, named by its input and settings. Another input or other settings give
another folder, so that no data set changes while it is read. The folder is renamed to this name when it is complete.
Until then its parts lie beside it, each whole, so that an interrupted preparation goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from safe_exp.config import CaptionerConfig, DataConfig
from safe_exp.data.captioners import build_image_captioner, captioners
from safe_exp.data.prepared.downloads import attach_downloads
from safe_exp.data.prepared.join import FORMAT_VERSION, MANIFEST, join_parts
from safe_exp.data.prepared.part_processes import make_in_processes
from safe_exp.data.prepared.parts import PartMaker, explain_unusable, is_fault
from safe_exp.data.prepared.store import PreparedArticles, read_words
from safe_exp.data.reading.cleaning import CLEANING_VERSION
from safe_exp.data.reading.given_sides import build_given_reader, readers_of_one_root
from safe_exp.data.reading.readers import (
    PART_ARTICLES,
    Reader,
    TakesDownloads,
    cut_into_parts,
    find_revision,
)
from safe_exp.data.splitting.duplicates import SIGNATURE_RECIPE
from safe_exp.data.text import NORMALISATION, Cutting, without_needless_auto
from safe_exp.data.word_cutters import word_cutters
from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path
from safe_exp.system.lock import locked
from safe_exp.system.terminal import counting

log = logging.getLogger(__name__)

# A new process takes a second to import; one process makes so many parts of text in that time.
PARTS_WORTH_A_PROCESS = 8


def prepare(
    data: DataConfig,
    captioner: CaptionerConfig,
    max_text_tokens: int | None = None,
    max_visual_tokens: int | None = None,
    fetch: bool = False,
    cutting: Cutting | None = None,
) -> PreparedArticles:
    """Prepare the articles at `data.root` (and of given sides), unless they are already, and open the data set.

    Args:
        max_text_tokens, max_visual_tokens: replace those of `data`; a stored run has its own.
        fetch: with `data.download_images`, ask again for images that an earlier download did not get.
        cutting: replaces that of `data`; a stored run has its own.
    Raises:
        UserError: there is no input or no usable article, or (strict) an article cannot be used; the captioner's model
            cannot be loaded; the data set cannot be written or read.
    """
    preparation = Preparation(data, captioner, max_text_tokens, max_visual_tokens, fetch, cutting)
    if not preparation.done():
        with preparation.locked():
            if not preparation.done():  # else another process was faster
                preparation.make(preparation.missing())
                preparation.join()
    prepared = preparation.open()
    if preparation.lost_vectors(prepared):
        with preparation.locked():
            preparation.store_vectors_again(prepared)
    return prepared


class Preparation:
    """The preparation of one input under one set of settings; the constructor only lists the input.

    Raises:
        UserError: as `prepare` does.
    """

    def __init__(
        self,
        data: DataConfig,
        captioner: CaptionerConfig,
        max_text_tokens: int | None = None,
        max_visual_tokens: int | None = None,
        fetch: bool = False,
        cutting: Cutting | None = None,
    ) -> None:
        self.data = data
        self.cutting = cutting or Cutting(data.words, data.keep_urls)
        word_cutters.require(self.cutting.words)
        self.reader: Reader = build_given_reader(data, captioner)
        image_captioner = build_image_captioner(captioner)
        if data.download_images and image_captioner:
            each_root = readers_of_one_root(self.reader)
            attach_downloads([reader for reader in each_root if isinstance(reader, TakesDownloads)], data, fetch)
        max_text = max_text_tokens or data.max_text_tokens
        max_visual = max_visual_tokens or data.max_visual_tokens
        self.settings = {
            **self.reader.settings,
            "captioner": image_captioner.settings if image_captioner else {"name": captioner.name},
            "max_text_tokens": max_text,
            "max_visual_tokens": max_visual,
            **self.cutting.settings(),
            "versions": {"cleaning": CLEANING_VERSION, "normalisation": NORMALISATION, "duplicates": SIGNATURE_RECIPE},
        }
        self.signature, self.parts, self.items = _list_input(self.reader)
        home = Path(data.prepared).expanduser().absolute()
        root, *other_roots = (Path(reader.root).expanduser().resolve() for reader in readers_of_one_root(self.reader))
        revision = find_revision(self.reader)
        made_by = [FORMAT_VERSION] if revision == 1 else [FORMAT_VERSION, revision]
        name = re.sub(r"[*?\[\]]+", "_", root.name)  # of a pattern that stands for several files

        def named(settings: dict[str, Any]) -> str:
            made_of = [*made_by, str(root), settings, self.signature, *map(str, other_roots)]
            return f"{name}-{json_digest(made_of)[:12]}"

        self.folder = home / named(self.settings)
        # Where `auto` changes nothing, the data set is the one that is cut at spaces, whichever made it first.
        self._at_spaces = home / named(without_needless_auto(self.settings, []))
        self.draft = home / f".{self.folder.name}.parts-of-{PART_ARTICLES}"  # parts of another size lie elsewhere
        self._lock = home / ".locks" / f"{self.folder.name}.lock"
        self.maker = PartMaker(
            self.reader, captioner, max_text, max_visual, self.cutting, data.strict, home, self.draft
        )
        self.one_process = captioners[captioner.name].one_process
        self.reads_images = image_captioner is not None

    def done(self) -> bool:
        """Tell if the data set is complete; `folder` is then where it lies."""
        if not (self.folder / MANIFEST).is_file() and self._serves(self._at_spaces):
            self.folder = self._at_spaces
        return (self.folder / MANIFEST).is_file()

    def _serves(self, folder: Path) -> bool:
        """Tell if a complete data set that is cut at spaces is cut by `auto` to the same words."""
        if folder == self.folder or not (folder / MANIFEST).is_file():
            return False
        try:
            words = read_words(folder)
        except UserError:  # damaged: whoever opens it says so
            return True
        return without_needless_auto(self.settings, words) != self.settings

    def missing(self, shard: int | None = None) -> list[int]:
        """List the numbers of the parts that are not made yet: of one share of `data.shards`, or of all."""
        numbers = range(self.parts) if shard is None else range(shard, self.parts, self.data.shards)
        return [number for number in numbers if not self.maker.path(number).exists()]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from the same work. Where no lock can be had, it is done twice, with the same result."""
        with _explaining_write_errors(self.data.prepared):
            self._lock.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._lock, "Another process is preparing these articles; waiting for it."):
            yield

    def make(self, numbers: Sequence[int]) -> None:
        """Make these parts, in several processes if that is faster.

        Raises:
            UserError: as `PartMaker.make` does; the word cutter's package is missing; or a process was killed, or the
            parts cannot be written.
        """
        word_cutters[self.cutting.words].require_package()
        wanted = set(numbers)
        if len(wanted) < self.parts and self.data.shards is None:
            log.info("Going on with a preparation that was interrupted: %d of %d parts.", len(wanted), self.parts)
        processes = self._processes(len(wanted))
        total = min(self.items, PART_ARTICLES * len(wanted))
        with _explaining_write_errors(self.data.prepared), counting(log, "Preparing articles", total) as advance:
            self.draft.mkdir(parents=True, exist_ok=True)
            listed = (part for part in cut_into_parts(self.reader) if part.number in wanted)
            if processes == 1:
                for part in listed:
                    self.maker.make(part, advance)
            else:
                make_in_processes(self.maker, listed, processes, advance)

    def join(self) -> None:
        """Join the parts into the data set, which appears whole or not at all.

        Raises:
            UserError: parts are missing, the input has changed meanwhile, no part holds an article, or the data set
                cannot be written.
        """
        if missing := self.missing():
            raise UserError(self._explain_missing(missing))
        if _list_input(self.reader).signature != self.signature:
            raise UserError(
                f"data.root={self.data.root} changed while it was being prepared. Run the command again when nothing "
                "writes there any more."
            )
        with _explaining_write_errors(self.data.prepared):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}.", dir=self.folder.parent))
            try:
                new.chmod(0o755)  # mkdtemp makes it private; colleagues may share prepared data
                paths = [self.maker.path(number) for number in range(self.parts)]
                with counting(log, "Joining parts", 2 * len(paths)) as advance:
                    manifest = join_parts(paths, self.reader.stray(), self.settings, new, advance)
                self._require_every_item(manifest, len(self.reader.stray()))
                if manifest["settings"] != self.settings:
                    self.folder = self._at_spaces
                try:
                    os.rename(new, self.folder)
                except OSError:
                    if not self.done():  # else another process was faster, with the very same data
                        raise
            finally:
                shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(self.draft, ignore_errors=True)

    def open(self) -> PreparedArticles:
        """Open the complete data set, as `data.strict` and `data.drop_repeated` ask.

        Raises:
            UserError: it cannot be read, or (strict) an article was left out.
        """
        prepared = PreparedArticles.open(self.folder)
        fault = next(filter(is_fault, prepared.left_out), None)
        if self.data.strict and fault is not None:
            raise UserError(explain_unusable(fault))
        return prepared.without_repeated_pictures() if self.data.drop_repeated else prepared

    def lost_vectors(self, prepared: PreparedArticles) -> list[str]:
        """List the pictures, by their hash, whose vectors are no longer in the store, or damaged there."""
        if prepared.patch_hashes is None:
            return []
        from safe_exp.data.prepared.patch_store import open_patch_store  # torch is slow to import

        store = open_patch_store(self.folder.parent, self.settings["captioner"])
        return store.missing(chain.from_iterable(each or () for each in prepared.patch_hashes))

    def store_vectors_again(self, prepared: PreparedArticles) -> None:
        """Make all parts again, for the vectors of pictures that the store lacks.

        Raises:
            UserError: as `make` does.
        """
        if lost := self.lost_vectors(prepared):  # else another process was faster
            log.info("The vectors of %d pictures are computed again.", len(lost))
            self.make(range(self.parts))
            shutil.rmtree(self.draft, ignore_errors=True)

    def _require_every_item(self, manifest: dict[str, Any], stray: int) -> None:
        """Check that each item of the input became an article or is counted as left out.

        Raises:
            UserError: one is missing; some part of the program has lost it.
        """
        articles, left_out = manifest["counts"]["all"]["articles"], len(manifest["left_out"]["articles"])
        if articles + left_out != self.items + stray:
            raise UserError(
                f"data.root={self.data.root}: {self.items + stray} records were listed, but {articles} articles and "
                f"{left_out} left out make {articles + left_out}. This is a fault of the program; please report it."
            )

    def _processes(self, parts_to_make: int) -> int:
        if self.one_process or multiprocessing.current_process().daemon:  # daemons may not have children
            return 1
        worth = parts_to_make if self.reads_images else parts_to_make // PARTS_WORTH_A_PROCESS
        return max(1, min(self.data.workers or os.cpu_count() or 1, worth))

    def _explain_missing(self, missing: Sequence[int]) -> str:
        shards = self.data.shards
        if shards is None:
            return f"{len(missing)} of {self.parts} parts are missing in {short_path(self.draft)}; run prepare again."
        lost = sorted({number % shards for number in missing})
        names = ",".join(map(str, lost))
        return (
            f"{len(lost)} of {shards} shards are not complete: {names}. Run {'it' if len(lost) == 1 else 'them'} with "
            f"the same command and {'' if len(lost) == 1 else '-m '}data.shards={shards} data.shard={names}; then join "
            f"with data.shards={shards} alone."
        )


class _Listing(NamedTuple):
    """The input of a reader, listed."""

    signature: str  # changes with the input
    parts: int
    items: int


def _list_input(reader: Reader) -> _Listing:
    """List the input of a reader without reading the articles."""
    digest = hashlib.sha256()
    number_of_parts = items = 0
    with counting(log, "Looking through the articles", None) as advance:
        for part in cut_into_parts(reader):
            for item in part.items:
                digest.update(json_digest(reader.signature(item)).encode())
            number_of_parts += 1
            items += len(part.items)
            advance(len(part.items))
    digest.update(json_digest([vars(item) for item in reader.stray()]).encode())
    return _Listing(digest.hexdigest(), number_of_parts, items)


@contextmanager
def _explaining_write_errors(home: str) -> Iterator[None]:
    """Turn an OSError into a UserError that names `data.prepared`."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"data.prepared={home}: the prepared data cannot be written there ({error.strerror or error}). Name a "
            "folder that you may write to and that has room, as in data.prepared=/tmp/prepared."
        ) from error
