"""The vectors that a vocabulary took from a text file, kept, so that other jobs and later runs need not read the file.

<home>/<file>-<state>-<words>.safetensors: the digests of the file's path, of its size and times, and of the words. Each
file holds the vectors found, the places of their words among the sorted words, and a checksum of both.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from safe_exp.data.vector_files import take_vectors
from safe_exp.system.digest import json_digest
from safe_exp.system.files import UnwritableFile, whole_file
from safe_exp.system.lock import locked

log = logging.getLogger(__name__)

KEPT_BYTES = 20_000_000  # of a file, from which on its vectors are kept; a smaller one is read in a tenth of a second
MOST = 20  # vocabularies that are kept of one file; the ones that have not been used for longest make room
VERSION = 1  # raised when `take_vectors` reads the same file differently


def take_or_reuse_vectors(path: Path, wanted: set[str], home: Path) -> tuple[dict[str, np.ndarray], int]:
    """Read the vectors of the wanted words and E as `take_vectors` does, or reuse those of an earlier call.

    A file with another size or other times is read again. So is one whose kept vectors are damaged, which is said.
    Processes that want the same file wait for the first one.

    Args:
        home: folder of the kept vectors. Where it cannot be written to, nothing is kept.
    Raises:
        UserError: as `take_vectors`.
    """
    try:
        stat = path.stat()
    except OSError:
        return take_vectors(path, wanted)  # which gives the reason
    if stat.st_size < KEPT_BYTES:
        return take_vectors(path, wanted)
    words = sorted(wanted)
    file = json_digest(str(path.resolve()))[:12]
    state = json_digest([VERSION, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns])[:12]
    kept = home / f"{file}-{state}-{json_digest(words)[:24]}.safetensors"
    found = _read(kept, words)
    if found is not None:
        return found
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.debug("Word vectors are not kept in %s: %s", home, error)
        return take_vectors(path, wanted)
    with locked(home / f".{file}.lock", f"{path.name}: another process reads it; waiting for its vectors."):
        found = _read(kept, words)  # which that process may have kept
        if found is None:
            found = take_vectors(path, wanted)
            try:
                _write(kept, words, *found)
                _make_room(home, file, state)
            except (OSError, UnwritableFile) as error:
                log.debug("Word vectors are not kept in %s: %s", home, error)
    return found


def _write(kept: Path, words: list[str], known: dict[str, np.ndarray], dim: int) -> None:
    places = np.array([place for place, word in enumerate(words) if word in known], dtype=np.int64)  # (n,)
    vectors = np.stack([known[words[place]] for place in places])  # (n, E)
    with whole_file(kept) as draft:
        save_file({"places": places, "vectors": vectors}, draft, {"checksum": _checksum(places, vectors)})


def _read(kept: Path, words: list[str]) -> tuple[dict[str, np.ndarray], int] | None:
    """Read kept vectors; None where there are none, or damaged ones."""
    try:
        with safe_open(kept, "numpy") as file:
            places, vectors = file.get_tensor("places"), file.get_tensor("vectors")
            checksum = (file.metadata() or {}).get("checksum")
        if checksum != _checksum(places, vectors):
            raise ValueError("its checksum is another")
        found = {words[place]: vector for place, vector in zip(places.tolist(), vectors, strict=True)}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, SafetensorError) as error:
        log.warning("%s cannot be used (%s); the vectors are read again.", kept, error)
        return None
    with suppress(OSError):
        kept.touch()  # it was used
    return found, vectors.shape[1]


def _checksum(places: np.ndarray, vectors: np.ndarray) -> str:
    return hashlib.sha256(places.tobytes() + vectors.tobytes()).hexdigest()


def _make_room(home: Path, file: str, state: str) -> None:
    """Remove what was taken from another state of the file, and vocabularies beyond MOST."""
    of_file = {path: path.stat().st_mtime for path in home.glob(f"{file}-*.safetensors")}
    current = sorted((path for path in of_file if path.name.startswith(f"{file}-{state}-")), key=of_file.__getitem__)
    for path in [*(set(of_file) - set(current)), *current[:-MOST]]:
        with suppress(OSError):
            path.unlink()
