"""From the command to its first steps: python -m benchmarks.start

Seconds from starting `python -m safe_exp.train` until the first epoch stands on its standard error, which is the first
step, the rest of a short epoch and a validation: an upper bound. The run is ended there, so that its processor seconds
are those until there too; they say what an idle machine would take. The first run makes and prepares the built-in
articles; those that follow find them. `--help` is timed to its end.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.measure import machine, table


class Start(NamedTuple):
    seconds: float
    processor_seconds: float


def start(command: Sequence[str], folder: str, line: str | None = None) -> Start:
    """What it takes until a line with `line` in it comes on standard error; None: until the command ends."""
    before, begin = _processor_seconds(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "safe_exp.train", *command], cwd=folder, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    said = []
    with process:
        for output in process.stderr:
            said.append(output)
            if line is not None and line in output:
                seconds = time.perf_counter() - begin
                process.kill()
                process.wait()
                return Start(seconds, _processor_seconds() - before)
    if process.returncode or line is not None:
        raise SystemExit("".join(said))
    return Start(time.perf_counter() - begin, _processor_seconds() - before)


def _processor_seconds() -> float:
    """Of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each, interleaved (default 5)")
    parser.add_argument("--articles", type=int, default=800, help="built-in articles to train on (default 800)")
    chosen = parser.parse_args(arguments)
    base = [f"data.articles={chosen.articles}", "trainer.max_epochs=2"]
    ways = {
        "`train logger=csv`, until its first epoch": ([*base, "logger=csv"], "Epoch 1/2"),
        "`train`, with W&B offline": ([*base, "logger=default"], "Epoch 1/2"),
        "`train --help`, to its end": (["--help"], None),
    }
    os.environ.setdefault("WANDB_MODE", "offline")
    times: dict[str, list[Start]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory(prefix="safe_exp-benchmark-", ignore_cleanup_errors=True) as folder:
        first = start([*base, "logger=csv"], folder, "Epoch 1/2")
        for _ in range(chosen.rounds):
            for name, (command, line) in ways.items():
                times[name].append(start(command, folder, line))
    rows = [["`train logger=csv`, which makes and prepares the articles", f"{first[0]:.1f}", "", f"{first[1]:.1f}"]]
    for name, found in times.items():
        seconds, processor = zip(*found, strict=True)
        figures = statistics.median(seconds), min(seconds), statistics.median(processor)
        rows.append([name, *(f"{figure:.1f}" for figure in figures)])
    header = ["", "seconds, median", "least", "processor seconds"]
    print(f"{machine()}; {chosen.rounds} rounds\n\n{table(header, rows)}")


if __name__ == "__main__":
    main()
