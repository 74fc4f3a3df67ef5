"""Word vectors: from a text file, and seeded random ones for words that the file lacks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from safe_exp.config import VectorsConfig
from safe_exp.data.kept_vectors import take_or_reuse_vectors
from safe_exp.data.vector_files import take_vectors
from safe_exp.system.errors import UserError
from safe_exp.system.files import whole_file

# With rows of length about 1 a window of h words has length √h for every E, and SGD's step on the filters (Eq. 17: γ
# times the window) stays as large as its step on the layers above. So one γ suits all layers and every E.
RANDOM_LENGTH = 1.0


@dataclass(frozen=True)
class VectorCoverage:
    """Share of the vocabulary that the vector file knows."""

    words: int  # in the vocabulary, padding and the unknown word not counted
    found: int  # in the file; 0 without a file
    source: str | None  # name of the file, without its folder


def load_vectors(
    config: VectorsConfig, words: Sequence[str], home: Path | None = None
) -> tuple[Tensor, VectorCoverage]:
    """Load or draw a vector for each word.

    Args:
        words: the V words of the vocabulary by number: 0 is padding, 1 the unknown word.
        home: folder in which the vectors taken from a file are kept; None: they are not.
    Returns:
        (V, E) float32, row 0 (padding) zero; and how many of the words the file knows.
    Raises:
        UserError: the file is missing, a line of it cannot be read, or it knows none of the words.
    """
    known: dict[str, np.ndarray] = {}
    dim, scale, source = config.dim, RANDOM_LENGTH / config.dim**0.5, None
    if config.path is not None:
        path = Path(config.path).expanduser()
        wanted = set(words[2:])
        known, dim = take_vectors(path, wanted) if home is None else take_or_reuse_vectors(path, wanted, home)
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
