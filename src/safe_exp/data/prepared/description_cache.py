"""Cache of descriptions of pictures on disk, so that no picture is described twice.

<folder>/<captioner>-<first digits of the SHA-256 of its settings>/ holds settings.json and one file for each batch:
JSON lines for sentences, safetensors for arrays. A file appears whole or not at all and is never changed. So several
processes can use the folder at a time without a lock, and a run that is killed loses only the batch at hand.
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from safe_exp.data.captioners import ImageCaptioner
from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UserError
from safe_exp.system.files import whole_file, write_json

log = logging.getLogger(__name__)

Description: TypeAlias = "str | np.ndarray"  # a sentence, or descriptors (P, F) float32
SENTENCES_SUFFIX, ARRAYS_SUFFIX = ".jsonl", ".safetensors"


class DescriptionCache:
    """Descriptions by one captioner with one set of settings, by the hash of the image file's content.

    The memory holds an index of about 200 bytes for each picture; descriptions are read from disk when they are needed.
    """

    def __init__(self, folder: Path, captioner: ImageCaptioner) -> None:
        name = captioner.settings.get("name", type(captioner).__name__)
        self.folder = Path(folder) / f"{name}-{json_digest(captioner.settings, compact=False)[:16]}"
        self._settings = captioner.settings
        self._index: dict[str, tuple[str, int]] = {}  # hash: file, and row in it
        self._seen: set[str] = set()
        self._look_for_new_files()

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, content_hash: str) -> bool:
        return content_hash in self._index

    def get(self, hashes: Sequence[str]) -> dict[str, Description]:
        """Look up descriptions by hash; pictures without one are left out."""
        if any(content_hash not in self._index for content_hash in hashes):
            self._look_for_new_files()  # another process may have described them meanwhile
        wanted: dict[str, dict[str, int]] = defaultdict(dict)  # file: its hashes and their rows
        for content_hash in hashes:
            if content_hash in self._index:
                file, row = self._index[content_hash]
                wanted[file][content_hash] = row
        known: dict[str, Description] = {}
        for file, rows in wanted.items():
            try:
                known |= _read_rows(self.folder / file, rows)
            except Exception as error:  # see _look_for_new_files
                self._ignore(file, error)
                self._index = {key: place for key, place in self._index.items() if place[0] != file}
        return known

    def add(self, results: Mapping[str, Description]) -> None:
        """Store the descriptions of one batch in one file: all sentences, or all arrays of one shape.

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

    def _write(self, results: Mapping[str, Description]) -> None:
        if not (self.folder / "settings.json").exists():
            write_json(self.folder / "settings.json", self._settings)  # for people who look into the folder
        hashes = list(results)
        suffix = SENTENCES_SUFFIX if isinstance(results[hashes[0]], str) else ARRAYS_SUFFIX
        # Two processes that describe the same batch write the same file; either copy will do.
        name = hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:32] + suffix
        with whole_file(self.folder / name) as draft:
            if suffix == SENTENCES_SUFFIX:
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
            if (
                path.name in self._seen
                or path.suffix not in (SENTENCES_SUFFIX, ARRAYS_SUFFIX)
                or path.name.startswith(".")
            ):
                continue
            try:
                self._note(path.name, _read_hashes(path))
            except Exception as error:  # safetensors, JSON and NumPy have no common error; none may end the run
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
) -> Iterator[tuple[str, Description]]:
    """Yield hash and description of each picture, in their order, from the cache where it has them.

    Pictures are taken and held `captioner.batch_size` at a time. The descriptions of a batch are stored before the
    first of them is yielded.

    Args:
        images: (hash of the file's content, decoded picture); a hash may come more than once.
    Raises:
        UserError: the captioner's model cannot be loaded, or the cache cannot be written.
        ValueError: the captioner does not give one description for each picture.
    """
    stream = iter(images)
    while batch := list(islice(stream, captioner.batch_size)):
        known = cache.get([content_hash for content_hash, _ in batch])
        missing = {content_hash: image for content_hash, image in batch if content_hash not in known}
        if missing:
            described = cast("Sequence[Description]", captioner.describe(list(missing.values())))
            if len(described) != len(missing):
                name = captioner.settings.get("name", type(captioner).__name__)
                raise ValueError(f"captioner={name} gave {len(described)} results for {len(missing)} pictures.")
            found = dict(zip(missing, described, strict=True))
            cache.add(found)
            known |= found
        for content_hash, _ in batch:
            yield content_hash, known[content_hash]


def _read_hashes(path: Path) -> list[str]:
    """Read the hashes of a file, by row."""
    if path.suffix == SENTENCES_SUFFIX:
        return [content_hash for content_hash, _ in _read_sentences(path)]
    with safe_open(path, framework="numpy") as file:
        hashes = json.loads(file.metadata()["hashes"])
        rows = file.get_slice("results").get_shape()[0]
    if rows != len(hashes):
        raise ValueError(f"{rows} results for {len(hashes)} pictures")
    return hashes


def _read_rows(path: Path, rows: Mapping[str, int]) -> dict[str, Description]:
    """Read descriptions from a file, by hash and row."""
    if path.suffix == SENTENCES_SUFFIX:
        sentences = dict(_read_sentences(path))
        return {content_hash: sentences[content_hash] for content_hash in rows}
    with safe_open(path, framework="numpy") as file:
        results = file.get_slice("results")
        return {content_hash: results[row : row + 1][0] for content_hash, row in rows.items()}


def _read_sentences(path: Path) -> list[tuple[str, str]]:
    # splitlines() would also split at characters that a sentence may hold, such as U+2028.
    pairs = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    if not all(isinstance(pair, list) and len(pair) == 2 and all(isinstance(x, str) for x in pair) for pair in pairs):
        raise ValueError("expected a hash and a sentence on each line")
    return [(content_hash, sentence) for content_hash, sentence in pairs]
