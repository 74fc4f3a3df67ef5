"""The time from a command to its first training steps: python -m benchmarks.start

Measured from the start of `python -m safe_exp.train` until the line of the first epoch is on its standard error. That
line comes after a short epoch and a validation, so it is an upper bound for the first step. The run is then killed, so
that its processor seconds, which an idle machine would take, end there too. The first run makes and prepares the
built-in articles, which the others find. `--help` is timed to its end.
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
    """The time that a command took."""

    seconds: float
    processor_seconds: float


def start(command: Sequence[str], folder: str, line: str | None = None) -> Start:
    """Run a command until a line that contains `line` is on its standard error; None: until it ends.

    Raises:
        SystemExit: the command failed, or ended without the line; the message is its standard error.
    """
    before, begin = _processor_seconds(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "safe_exp.train", *command], cwd=folder, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    lines = []
    with process:
        for output in process.stderr:
            lines.append(output)
            if line is not None and line in output:
                seconds = time.perf_counter() - begin
                process.kill()
                process.wait()
                return Start(seconds, _processor_seconds() - before)
    if process.returncode or line is not None:
        raise SystemExit("".join(lines))
    return Start(time.perf_counter() - begin, _processor_seconds() - before)


def _processor_seconds() -> float:
    """Return the processor seconds of all child processes that have ended."""
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
