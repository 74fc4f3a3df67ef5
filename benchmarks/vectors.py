"""The time that the vectors of a vocabulary take: python -m benchmarks.vectors

A file of 400,000 words of 300 numbers (1 GB) is written. The vectors of 5,000 and of 20,000 of its words are read: line
by line, with every field of every line split off, as the program did once; as it does now; and by a second job, which
finds what the first one has kept. Processor seconds, interleaved, medians of the rounds; as ratios of the first.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.measure import machine, table
from safe_exp.data import kept_vectors
from safe_exp.data.kept_vectors import take_or_reuse_vectors
from safe_exp.data.vector_files import take_vectors

GOALS = {"read": 0.4, "kept": 0.02}  # at most, of the time that line by line takes


def write_vectors(path: Path, words: int, dim: int) -> None:
    """Write a file of random vectors for w0, w1 and so on."""
    numbers = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, words, 1000):
            rows = numbers.standard_normal((min(1000, words - start), dim))
            file.writelines(f"w{start + n} {' '.join(f'{x:.5f}' for x in row)}\n" for n, row in enumerate(rows))


def read_line_by_line(path: Path, wanted: set[str]) -> dict[str, np.ndarray]:
    """Read the vectors of the wanted words from a file without header, each line split into its fields."""
    known: dict[str, np.ndarray] = {}
    names = {word.encode(): word for word in wanted}
    with path.open("rb") as file:
        dim = len(file.readline().split()) - 1
        file.seek(0)
        for line in file:
            fields = line.rstrip().rsplit(b" ", dim)
            if len(fields) != dim + 1:
                raise ValueError(line)
            word = names.get(fields[0])
            if word is not None and word not in known:
                known[word] = np.array([float(field) for field in fields[1:]], dtype=np.float32)
    return known


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vectors", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each, interleaved (default 3)")
    parser.add_argument("--tiny", action="store_true", help="a small file, to check in a second that everything runs")
    chosen = parser.parse_args(arguments)
    words, dim, sizes = (400, 5, (20, 40)) if chosen.tiny else (400_000, 300, (5_000, 20_000))
    rows = []
    with tempfile.TemporaryDirectory(prefix="safe_exp-benchmark-") as folder:
        path, home = Path(folder, "vectors.txt"), Path(folder, "kept")
        write_vectors(path, words, dim)
        kept_vectors.KEPT_BYTES = 1  # of a tiny file too
        for size in sizes:
            wanted = {f"w{n}" for n in np.random.default_rng(1).choice(words, size, replace=False)}
            take_or_reuse_vectors(path, wanted, home)
            ways: dict[str, Callable[[], object]] = {
                "line by line": lambda wanted=wanted: read_line_by_line(path, wanted),
                "read": lambda wanted=wanted: take_vectors(path, wanted),
                "kept": lambda wanted=wanted: take_or_reuse_vectors(path, wanted, home),
            }
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(chosen.rounds):
                for name, way in ways.items():
                    begin = time.process_time()
                    way()
                    seconds[name].append(time.process_time() - begin)
            for name, found in seconds.items():
                ratio = statistics.median(a / b for a, b in zip(found, seconds["line by line"], strict=True))
                goal = f"{GOALS[name]:g} at most" if name in GOALS else ""
                rows.append([f"{size:,} words, {name}", f"{statistics.median(found):.2f}", f"{ratio:.3f}", goal])
        bytes_read = path.stat().st_size
    print(f"{machine()}; {chosen.rounds} rounds; a file of {bytes_read / 1e9:.2f} GB\n")
    print(table(["", "processor seconds", "/ line by line", "goal"], rows))


if __name__ == "__main__":
    main()
