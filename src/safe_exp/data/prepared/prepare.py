"""Preparing a data set: which parts there are, which are still to be made, by how many processes, and where they go.

A prepared data set lies in a folder of its own, named by what it was made from: another input, or other settings, give
another folder, so that nothing is ever changed under a reader. It gets its name by a rename when it is complete. Until
then its parts lie beside it, each whole, so that an interrupted preparation goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from safe_exp.config import CaptionerConfig, DataConfig
from safe_exp.data.captioners import build_image_captioner, captioners
from safe_exp.data.prepared.downloads import attach_downloads
from safe_exp.data.prepared.join import FORMAT, MANIFEST, join_parts
from safe_exp.data.prepared.parts import PartMaker, refusal
from safe_exp.data.prepared.store import PreparedArticles
from safe_exp.data.reading.cleaning import CLEANING
from safe_exp.data.reading.readers import PART_ARTICLES, Part, Reader, TakesDownloads, build_reader, parts
from safe_exp.data.splitting.duplicates import SIGNATURE_RECIPE
from safe_exp.data.text import NORMALISATION
from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path
from safe_exp.system.lock import locked
from safe_exp.system.processes import end_with_parent
from safe_exp.system.terminal import counting

log = logging.getLogger(__name__)

# A new process imports for a second; so many parts of text take one process about as long.
PARTS_WORTH_A_PROCESS = 8
QUEUED_PARTS = 3  # for each process: a table's rows travel with the part, and more would only wait in memory


def prepare(
    data: DataConfig,
    captioner: CaptionerConfig,
    max_text_tokens: int | None = None,
    max_visual_tokens: int | None = None,
    fetch: bool = False,
) -> PreparedArticles:
    """The prepared data set of the articles at `data.root`, made now if it is not there.

    Args:
        max_text_tokens, max_visual_tokens: instead of those of `data`; a stored run brings its own.
        fetch: with `data.download_images`, ask again for images that an earlier download did not get.
    Raises:
        UserError: no input, no usable article, (strict) an article that cannot be used, or no room to write.
    """
    preparation = Preparation(data, captioner, max_text_tokens, max_visual_tokens, fetch)
    if not preparation.done():
        with preparation.locked():
            if not preparation.done():  # else another process was faster
                preparation.make(preparation.missing())
                preparation.join()
    prepared = PreparedArticles.open(preparation.folder)
    if data.strict and prepared.left_out:
        raise UserError(refusal(prepared.left_out[0]))
    return prepared


class Preparation:
    """One input under one set of settings. Listing it is all that the constructor does."""

    def __init__(
        self,
        data: DataConfig,
        captioner: CaptionerConfig,
        max_text_tokens: int | None = None,
        max_visual_tokens: int | None = None,
        fetch: bool = False,
    ) -> None:
        self.data = data
        self.reader: Reader = build_reader(data, captioner)
        image_captioner = build_image_captioner(captioner)
        if data.download_images and image_captioner and isinstance(self.reader, TakesDownloads):
            attach_downloads(self.reader, data, fetch)
        max_text = max_text_tokens or data.max_text_tokens
        max_visual = max_visual_tokens or data.max_visual_tokens
        self.settings = {
            **self.reader.settings,
            "captioner": image_captioner.settings if image_captioner else {"name": captioner.name},
            "max_text_tokens": max_text,
            "max_visual_tokens": max_visual,
            "versions": {"cleaning": CLEANING, "normalisation": NORMALISATION, "duplicates": SIGNATURE_RECIPE},
        }
        self.signature, self.parts, self.items = _listed(self.reader)
        home = Path(data.prepared).expanduser().absolute()
        root = Path(self.reader.root).expanduser().resolve()
        key = json_digest([FORMAT, str(root), self.settings, self.signature])[:12]
        self.folder = home / f"{root.name}-{key}"
        self.draft = home / f".{root.name}-{key}.parts-of-{PART_ARTICLES}"  # parts of another size are not ours
        self._lock = home / ".locks" / f"{self.folder.name}.lock"
        self.maker = PartMaker(
            self.reader, captioner, max_text, max_visual, data.strict, home / "descriptions", self.draft
        )
        self.one_process = captioners[captioner.name].one_process
        self.reads_images = image_captioner is not None

    def done(self) -> bool:
        return (self.folder / MANIFEST).is_file()

    def missing(self, shard: int | None = None) -> list[int]:
        """Numbers of the parts that are still to be made: of one share of `data.shards`, or of all."""
        numbers = range(self.parts) if shard is None else range(shard, self.parts, self.data.shards)
        return [number for number in numbers if not self.maker.path(number).exists()]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from doing the same work; where no lock can be had it is done twice, no worse."""
        with _writing(self.data.prepared):
            self._lock.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._lock, "Another process is preparing these articles; waiting for it."):
            yield

    def make(self, numbers: Sequence[int]) -> None:
        """Make these parts; those of an earlier, interrupted preparation are not among `missing`."""
        wanted = set(numbers)
        if len(wanted) < self.parts and self.data.shards is None:
            log.info("Going on with a preparation that was interrupted: %d of %d parts.", len(wanted), self.parts)
        processes = self._processes(len(wanted))
        total = min(self.items, PART_ARTICLES * len(wanted))
        with _writing(self.data.prepared), counting(log, "Preparing articles", total) as advance:
            self.draft.mkdir(parents=True, exist_ok=True)
            listed = (part for part in parts(self.reader) if part.number in wanted)
            if processes == 1:
                for part in listed:
                    self.maker.make(part, advance)
            else:
                _make_in_processes(self.maker, listed, processes, advance)

    def join(self) -> None:
        """Join the parts into the data set, which then appears, whole.

        Raises:
            UserError: parts are missing, named by their share; or the input has changed meanwhile.
        """
        if missing := self.missing():
            raise UserError(self._lost(missing))
        if _listed(self.reader)[0] != self.signature:
            raise UserError(
                f"data.root={self.data.root} changed while it was being prepared. Run the command again when nothing "
                "writes there any more."
            )
        with _writing(self.data.prepared):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}.", dir=self.folder.parent))
            try:
                new.chmod(0o755)  # mkdtemp makes it private; colleagues may share prepared data
                paths = [self.maker.path(number) for number in range(self.parts)]
                with counting(log, "Joining parts", 2 * len(paths)) as advance:
                    join_parts(paths, self.reader.stray(), self.settings, new, advance)
                try:
                    os.rename(new, self.folder)
                except OSError:
                    if not self.done():  # else another process was faster, with the very same data
                        raise
            finally:
                shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(self.draft, ignore_errors=True)

    def _processes(self, parts_to_make: int) -> int:
        if self.one_process or multiprocessing.current_process().daemon:  # daemons may not have children
            return 1
        worth = parts_to_make if self.reads_images else parts_to_make // PARTS_WORTH_A_PROCESS
        return max(1, min(self.data.workers or os.cpu_count() or 1, worth))

    def _lost(self, missing: Sequence[int]) -> str:
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


def _listed(reader: Reader) -> tuple[str, int, int]:
    """What tells this input from a changed one, and how many parts and items it has."""
    digest = hashlib.sha256()
    number_of_parts = items = 0
    with counting(log, "Looking through the articles", None) as advance:
        for part in parts(reader):
            for item in part.items:
                digest.update(json_digest(reader.signature(item)).encode())
            number_of_parts += 1
            items += len(part.items)
            advance(len(part.items))
    digest.update(json_digest([vars(item) for item in reader.stray()]).encode())
    return digest.hexdigest(), number_of_parts, items


def _make_in_processes(
    maker: PartMaker, listed: Iterator[Part], processes: int, advance: Callable[[int], None]
) -> None:
    # Spawned, not forked: a fork of a process that runs threads (torch's, the progress bar's) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=end_with_parent) as pool:
        running: deque[Future[int]] = deque()
        try:
            for part in listed:
                if len(running) >= QUEUED_PARTS * processes:
                    advance(running.popleft().result())  # in order: with strict=true the first fault is the one named
                running.append(pool.submit(maker.make, part))
            while running:
                advance(running.popleft().result())
        except BrokenProcessPool as error:
            raise UserError(
                "A process that prepares articles was killed, most often for want of memory. What is done is kept; run "
                "the command again with fewer of them, as in data.workers=1."
            ) from error
        except BaseException:  # also Ctrl-C: what waits is dropped, what runs finishes its part
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _writing(home: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"data.prepared={home}: the prepared data cannot be written there ({error.strerror or error}). Name a "
            "folder that you may write to and that has room, as in data.prepared=/tmp/prepared."
        ) from error
