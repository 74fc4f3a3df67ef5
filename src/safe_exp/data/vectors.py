"""Word vectors: from a GloVe or word2vec text file, and seeded random ones for words that the file lacks."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from safe_exp.config import VectorsConfig
from safe_exp.system.errors import UserError
from safe_exp.system.files import whole_file
from safe_exp.system.terminal import counting

log = logging.getLogger(__name__)

# With rows of length about 1 a window of h words has length √h for every E, and SGD's step on the filters (Eq. 17: γ
# times the window) stays as large as its step on the layers above. So one γ suits all layers and every E.
RANDOM_LENGTH = 1.0
ANNOUNCED_BYTES = 200_000_000  # files from this size on, which take seconds to read, are announced
PROBED_LINES = 10  # lines at the start of the file that tell its E
MAX_DIM = 99_999  # of E; published vectors have a few hundred numbers


@dataclass(frozen=True)
class VectorCoverage:
    """Share of the vocabulary that the vector file knows."""

    words: int  # in the vocabulary, padding and the unknown word not counted
    found: int  # in the file; 0 without a file
    source: str | None  # name of the file, without its folder


def load_vectors(config: VectorsConfig, words: Sequence[str]) -> tuple[Tensor, VectorCoverage]:
    """Load or draw a vector for each word.

    Args:
        words: the V words of the vocabulary by number: 0 is padding, 1 the unknown word.
    Returns:
        (V, E) float32, row 0 (padding) zero; and how many of the words the file knows.
    Raises:
        UserError: the file is missing, a line of it cannot be read, or it knows none of the words.
    """
    known: dict[str, np.ndarray] = {}
    dim, scale, source = config.dim, RANDOM_LENGTH / config.dim**0.5, None
    if config.path is not None:
        path = Path(config.path).expanduser()
        known, dim = _read_vectors(path, set(words[2:]))
        source = path.name
        # Unknown words must be neither louder nor fainter than known ones.
        scale = float(np.std(np.stack(list(known.values())), dtype=np.float64))
    table = np.zeros((len(words), dim), dtype=np.float32)  # (V, E)
    for row, word in enumerate(words[1:], start=1):
        table[row] = known[word] if word in known else _random_vector(config.seed, word, dim) * scale
    if not np.isfinite(table).all():  # the random vectors, which are as long as the file's
        raise UserError(f"{path}: its numbers are too large for word vectors (their spread is {scale:.3g}).")
    return torch.from_numpy(table), VectorCoverage(max(0, len(words) - 2), len(known), source)


def write_vector_tables(path: Path, text_vectors: Tensor, visual_vectors: Tensor) -> None:
    """Write the tables of both encoders, (V, E) and (V', E'); a table that serves both is written once."""
    tables = {"text_vectors": text_vectors}
    if visual_vectors is not text_vectors:
        tables["visual_vectors"] = visual_vectors
    with whole_file(path) as draft:
        save_file(tables, draft)


def read_vector_tables(path: Path) -> tuple[Tensor, Tensor]:
    """Read what `write_vector_tables` wrote, (V, E) and (V', E'); the same tensor twice if one table serves both."""
    tables = load_file(path)
    return tables["text_vectors"], tables.get("visual_vectors", tables["text_vectors"])


def _random_vector(seed: int, word: str, dim: int) -> np.ndarray:
    """Draw E standard normal numbers, (E,) float64, from (seed, word) alone, whatever else the vocabulary holds."""
    digest = hashlib.sha256(f"{seed}\n{word}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little")).standard_normal(dim)


def _read_vectors(path: Path, wanted: set[str]) -> tuple[dict[str, np.ndarray], int]:
    """Read the vectors (E,) of the wanted words, and E. The file is read line by line: glove.840B has 5 GB."""
    if not path.is_file():
        raise UserError(
            f"vectors.path={path}: there is no such file. Expected word vectors as text, GloVe's (a word and its "
            "numbers on each line) or word2vec's (the same after a line with the count and the dimension); "
            "vectors.path=null takes seeded random ones."
        )
    dim, first_line = _probe_layout(path)
    wanted_bytes = {word.encode(): word for word in wanted}
    known: dict[str, np.ndarray] = {}
    size = path.stat().st_size
    announcement = f"Reading word vectors from {path} ({size / 1e9:.1f} GB)" if size >= ANNOUNCED_BYTES else None
    with path.open("rb") as handle, counting(log, f"Reading {path.name}, MB", size / 1e6, announcement) as advance:
        for number, line in enumerate(handle, start=1):
            advance(len(line) / 1e6)
            if number < first_line or not line.strip():
                continue
            # Split from the right: a few words of glove.840B hold spaces themselves, as in ". . .".
            fields = line.rstrip().rsplit(b" ", dim)
            if len(fields) != dim + 1:
                raise _bad_line_error(path, number, dim, f"found {max(0, len(fields) - 1)} numbers")
            word = wanted_bytes.get(fields[0])
            if word is None or word in known:  # the first vector of a word counts
                continue
            known[word] = _parse_numbers(fields[1:], path, number)
    if not known:
        raise UserError(
            f"{path}: none of the {len(wanted)} words of the training articles has a vector in it. Expected vectors "
            "for lower-case words of the articles' language; check vectors.path."
        )
    return known, dim


def _probe_layout(path: Path) -> tuple[int, int]:
    """Read E, and the number of the line on which the vectors start: 2 after word2vec's header, else 1."""
    with path.open("rb") as handle:
        first = handle.readline().split()
        if len(first) == 2 and all(field.isdigit() for field in first):
            return _parse_header(path, first[1]), 2
        lines = [first, *(handle.readline().split() for _ in range(PROBED_LINES - 1))]
    counts = Counter(len(fields) for fields in lines if fields)
    # The commonest count. Of two equally common ones the larger comes from words with spaces in them.
    dim = min(counts, key=lambda count: (-counts[count], count), default=0) - 1
    if dim < 1:
        raise UserError(
            f"{path}, line 1: expected a word and its numbers, separated by spaces, or a header with the count and the "
            "dimension. Is this a word vector file in text format, unpacked? (The binary word2vec format is not read.)"
        )
    return dim, 1


def _parse_header(path: Path, field: bytes) -> int:
    dim = int(field) if len(field) <= len(str(MAX_DIM)) else MAX_DIM + 1
    if not 1 <= dim <= MAX_DIM:
        raise UserError(
            f"{path}, line 1: its header promises vectors of {field[:20].decode()} numbers; expected 1 to {MAX_DIM:,}. "
            "The file may be damaged: download it again."
        )
    return dim


def _parse_numbers(fields: Sequence[bytes], path: Path, number: int) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # 1e39 becomes infinite, and is refused below
            vector = np.array([float(field) for field in fields], dtype=np.float32)  # (E,)
    except ValueError as error:
        raise _bad_line_error(path, number, len(fields), str(error)) from error
    if not np.isfinite(vector).all():
        raise _bad_line_error(path, number, len(fields), "one of its numbers is not finite")
    return vector


def _bad_line_error(path: Path, number: int, dim: int, found: str) -> UserError:
    return UserError(
        f"{path}, line {number}: expected a word and {dim} numbers, separated by spaces; {found}. "
        "The file may be cut off or damaged: unpack or download it again."
    )
