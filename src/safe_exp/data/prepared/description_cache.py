"""What captioners said of pictures, kept on disk, so that no picture is described twice.

<folder>/<captioner>-<first digits of the SHA-256 of its settings>/ holds settings.json and one file for each batch:
JSON lines for sentences, safetensors for arrays. A file appears whole or not at all and is never changed, so several
processes may use the folder at a time without a lock, and a run that is killed loses the batch at hand and no more.
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from safe_exp.data.captioners import ImageCaptioner
from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UserError
from safe_exp.system.files import whole_file, write_json

log = logging.getLogger(__name__)

Result: TypeAlias = "str | np.ndarray"  # a sentence, or descriptors (P, F) float32
SENTENCES, ARRAYS = ".jsonl", ".safetensors"


class DescriptionCache:
    """The results of one captioner with one set of settings, by the hash of the image file's content.

    Only an index is held in memory, about 200 bytes for each picture; results are read when they are asked for.
    """

    def __init__(self, folder: Path, captioner: ImageCaptioner) -> None:
        name = captioner.settings.get("name", type(captioner).__name__)
        self.folder = Path(folder) / f"{name}-{json_digest(captioner.settings, compact=False)[:16]}"
        self._settings = captioner.settings
        self._index: dict[str, tuple[str, int]] = {}  # hash: file, row in it
        self._seen: set[str] = set()
        self._look_for_new_files()

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, content_hash: str) -> bool:
        return content_hash in self._index

    def get(self, hashes: Sequence[str]) -> dict[str, Result]:
        """What is known of these pictures; those that nobody has described yet are not in it."""
        if any(content_hash not in self._index for content_hash in hashes):
            self._look_for_new_files()  # another process may have described them meanwhile
        wanted = defaultdict(dict)
        for content_hash in hashes:
            if content_hash in self._index:
                file, row = self._index[content_hash]
                wanted[file][content_hash] = row
        known: dict[str, Result] = {}
        for file, rows in wanted.items():
            try:
                known |= _read_rows(self.folder / file, rows)
            except Exception as error:  # see _look_for_new_files
                self._ignore(file, error)
                self._index = {key: place for key, place in self._index.items() if place[0] != file}
        return known

    def add(self, results: Mapping[str, Result]) -> None:
        """Store one batch as one file. All of its results are sentences, or all are arrays of one shape.

        Raises:
            UserError: the folder cannot be written.
        """
        if not results:
            return
        try:
            self._write(results)
        except OSError as error:
            raise UserError(
                f"{self.folder}: descriptions of pictures cannot be stored here ({error.strerror or error}). Free some "
                "space or make the folder writable, and start the command again; what is stored already is kept."
            ) from error

    def _write(self, results: Mapping[str, Result]) -> None:
        if not (self.folder / "settings.json").exists():
            write_json(self.folder / "settings.json", self._settings)  # for people who wonder what this folder is
        hashes = list(results)
        suffix = SENTENCES if isinstance(results[hashes[0]], str) else ARRAYS
        # Two processes that describe the same batch write the same file, and either of the two copies will do.
        name = hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:32] + suffix
        with whole_file(self.folder / name) as draft:
            if suffix == SENTENCES:
                lines = (json.dumps([key, results[key]], ensure_ascii=False) + "\n" for key in hashes)
                draft.write_text("".join(lines), encoding="utf-8")
            else:
                arrays = np.stack([results[key] for key in hashes])  # (B, P, F)
                save_file({"results": arrays}, draft, metadata={"hashes": json.dumps(hashes)})
        self._note(name, hashes)

    def _look_for_new_files(self) -> None:
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.iterdir()):
            # Drafts of whole_file start with a dot.
            if path.name in self._seen or path.suffix not in (SENTENCES, ARRAYS) or path.name.startswith("."):
                continue
            try:
                self._note(path.name, _read_hashes(path))
            except Exception as error:  # safetensors, JSON and NumPy have no common error, and none may end the run
                self._ignore(path.name, error)

    def _note(self, file: str, hashes: Iterable[str]) -> None:
        self._seen.add(file)
        for row, content_hash in enumerate(hashes):
            self._index[content_hash] = (file, row)

    def _ignore(self, file: str, error: Exception) -> None:
        self._seen.add(file)
        log.warning("%s is damaged and ignored (%s); its pictures are described again.", self.folder / file, error)


def describe_all(
    captioner: ImageCaptioner, cache: DescriptionCache, images: Iterable[tuple[str, Image.Image]]
) -> Iterator[tuple[str, Result]]:
    """The captioner's result for each picture, in their order, from the cache where it is there.

    Pictures are taken and held `captioner.batch_size` at a time, and the results of each batch are stored before any of
    them is yielded.

    Args:
        images: (hash of the file's content, decoded picture); a hash may come more than once.
    """
    stream = iter(images)
    while batch := list(islice(stream, captioner.batch_size)):
        known = cache.get([content_hash for content_hash, _ in batch])
        missing = {content_hash: image for content_hash, image in batch if content_hash not in known}
        if missing:
            found = dict(zip(missing, captioner.describe(list(missing.values())), strict=True))
            cache.add(found)
            known |= found
        for content_hash, _ in batch:
            yield content_hash, known[content_hash]


def _read_hashes(path: Path) -> list[str]:
    """The hashes of a file, by row, without its results where the format allows it."""
    if path.suffix == SENTENCES:
        return [content_hash for content_hash, _ in _read_sentences(path)]
    with safe_open(path, framework="numpy") as file:
        hashes = json.loads(file.metadata()["hashes"])
        rows = file.get_slice("results").get_shape()[0]
    if rows != len(hashes):
        raise ValueError(f"{rows} results for {len(hashes)} pictures")
    return hashes


def _read_rows(path: Path, rows: Mapping[str, int]) -> dict[str, Result]:
    if path.suffix == SENTENCES:
        sentences = dict(_read_sentences(path))
        return {content_hash: sentences[content_hash] for content_hash in rows}
    with safe_open(path, framework="numpy") as file:
        results = file.get_slice("results")
        return {content_hash: results[row : row + 1][0] for content_hash, row in rows.items()}


def _read_sentences(path: Path) -> list[tuple[str, str]]:
    # Not splitlines(), which also splits at characters that a sentence may hold, such as U+2028.
    pairs = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    if not all(isinstance(pair, list) and len(pair) == 2 and all(isinstance(x, str) for x in pair) for pair in pairs):
        raise ValueError("expected a hash and a sentence on each line")
    return [(content_hash, sentence) for content_hash, sentence in pairs]
