"""Time and memory of preparing a large collection, and of one epoch of training on it: python -m benchmarks.prepare

Articles of 300 words drawn from 50,000, by Zipf's law, are written as FakeNewsNet-style folders (200,000 of them take
400,000 files, 400 MB and about two minutes), prepared by `python -m safe_exp.prepare`, and trained on for one epoch.
Memory is that of all processes together, read from /proc ten times a second (Linux). It includes the pages of mapped
files that are in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WORDS, TEXT_WORDS, CAPTION_WORDS = 50_000, 300, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--articles", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="where to work; a new temporary folder, removed at the end")
    parser.add_argument("--keep", action="store_true", help="keep what was written")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="safe_exp-benchmark-"))
    try:
        start = time.perf_counter()
        write_articles(folder / "articles", arguments.articles)
        seconds = time.perf_counter() - start
        print(f"{arguments.articles:,} articles written, {seconds:.0f} s", file=sys.stderr)
        read = ("data=fakenewsnet", f"data.root={folder / 'articles'}", f"data.prepared={folder / 'prepared'}")
        epoch = ("data.batch_size=64", "trainer.max_epochs=1", "logger=none", "model.num_filters=8")
        rows = [
            ("prepare", *measure(folder, "prepare", *read)),
            ("prepare again: nothing to do", *measure(folder, "prepare", *read)),
            ("train, one epoch, batches of 64", *measure(folder, "train", *read, *epoch)),
        ]
        print(report(rows, arguments.articles))
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)


def report(rows: list[tuple[str, float, float]], articles: int) -> str:
    """Format the machine and a Markdown table."""
    lines = [
        f"{articles:,} articles, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}",
        "",
        "| step | seconds | articles per second | peak memory |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {seconds:.0f} | {articles / seconds:,.0f} | {megabytes:,.0f} MB |"
            for name, seconds, megabytes in rows
        ),
    ]
    return "\n".join(lines)


def write_articles(root: Path, count: int) -> None:
    """Draw articles, and write them as FakeNewsNet-style folders."""
    random = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(WORDS)])
    chance = 1 / np.arange(1, WORDS + 1)
    chance /= chance.sum()
    for start in range(0, count, 1000):
        size = min(1000, count - start)
        drawn = words[random.choice(WORDS, (size, TEXT_WORDS + CAPTION_WORDS), p=chance)]
        for number, row in enumerate(drawn, start=start):
            folder = root / ("fake" if number % 2 else "real") / f"{number:07d}"
            folder.mkdir(parents=True)
            content = {"title": " ".join(row[:10]), "text": " ".join(row[10:TEXT_WORDS]), "source": f"p{number % 500}"}
            folder.joinpath("news_article.json").write_text(json.dumps(content))
            folder.joinpath("caption.txt").write_text(" ".join(row[TEXT_WORDS:]))
        if start % 20_000 == 0:
            print(f"writing articles: {start:,} of {count:,}", file=sys.stderr)


def measure(folder: Path, command: str, *arguments: str) -> tuple[float, float]:
    """Run a command of safe_exp, and measure seconds and peak memory in MB, its child processes included.

    Raises:
        SystemExit: the command failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", f"safe_exp.{command}", *arguments], cwd=folder, stdout=subprocess.DEVNULL,
        env={**os.environ, "WANDB_MODE": "disabled"}, start_new_session=True,
    )  # fmt: skip
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, session_megabytes(process.pid))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}; see above.")
    return time.perf_counter() - start, peak


def session_megabytes(session: int) -> float:
    """Add up the proportional set sizes of a session's processes, in MB; a shared page counts once."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(status.read_text().rsplit(")", 1)[1].split()[3]) == session:
                lines = status.with_name("smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, ValueError, StopIteration, IndexError):  # the process has just ended
            continue
    return total / 1024


if __name__ == "__main__":
    main()
