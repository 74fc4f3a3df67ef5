"""The time from a command to its first training steps, and to its end: python -m benchmarks.start

The first steps are measured from the start of `python -m safe_exp.train` until the line of the first epoch is on its
standard error. That line comes after a short epoch and a validation, so it is an upper bound. The run is then killed,
and its processor seconds, which an idle machine would take, end there too. To the end are measured runs of one and of
ten epochs, a mistake in the data, and `--help`. The first run makes and prepares the articles, which the others find.

`--against FOLDER` names the src/ of another checkout, whose runs are timed in turn with these; processor seconds are
then given as a ratio too.
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


class Way(NamedTuple):
    """A command that is timed."""

    arguments: list[str]
    line: str | None = None  # on its standard error, at which it is stopped; None: it is timed to its end
    fails: bool = False  # it is a mistake, which ends the command with exit code 1


def start(way: Way, folder: str, source: str | None = None) -> Start:
    """Time a command of this checkout, or of the one whose src/ is `source`.

    Raises:
        SystemExit: the command failed, or ended without the line; the message is its standard error.
    """
    environment = dict(os.environ) if source is None else {**os.environ, "PYTHONPATH": source}
    before, begin = _processor_seconds(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "safe_exp.train", *way.arguments], cwd=folder, text=True, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    lines = []
    with process:
        for output in process.stderr:
            lines.append(output)
            if way.line is not None and way.line in output:
                seconds = time.perf_counter() - begin
                process.kill()
                process.wait()
                return Start(seconds, _processor_seconds() - before)
    if process.returncode != int(way.fails) or way.line is not None:
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
    parser.add_argument("--against", metavar="FOLDER", help="src/ of another checkout, timed in turn")
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("WANDB_MODE", "offline")
    sources = {"here": None} | ({} if chosen.against is None else {"there": os.path.abspath(chosen.against)})
    with tempfile.TemporaryDirectory(prefix="safe_exp-benchmark-", ignore_cleanup_errors=True) as folder:
        base = [f"data.articles={chosen.articles}", f"data.prepared={folder}/prepared"]
        csv = [*base, "logger=csv"]
        ways = {
            "`train logger=csv`, until its first epoch": Way([*csv, "trainer.max_epochs=2"], "Epoch 1/2"),
            "`train`, with W&B offline": Way([*base, "logger=default", "trainer.max_epochs=2"], "Epoch 1/2"),
            "one epoch, to its end": Way([*csv, "trainer.max_epochs=1"]),
            "one epoch, to its end, with W&B offline": Way([*base, "logger=default", "trainer.max_epochs=1"]),
            "ten epochs, to their end": Way([*csv, "trainer.max_epochs=10"]),
            "a table that does not exist": Way(["data=table", "data.root=nowhere.csv", "logger=csv"], fails=True),
            "`train --help`, to its end": Way(["--help"]),
        }
        first = start(ways["`train logger=csv`, until its first epoch"], folder)
        for source in sources.values():
            start(ways["one epoch, to its end"], folder, source)  # what a checkout keeps for later runs is there
        times: dict[tuple[str, str], list[Start]] = {}
        for _ in range(chosen.rounds):
            for name, way in ways.items():
                for place, source in sources.items():
                    times.setdefault((name, place), []).append(start(way, folder, source))
    rows = [["the first run, which makes and prepares the articles", f"{first[0]:.1f}", "", f"{first[1]:.1f}"]]
    for name in ways:
        seconds, processor = zip(*times[name, "here"], strict=True)
        figures = statistics.median(seconds), min(seconds), statistics.median(processor)
        rows.append([name, *(f"{figure:.1f}" for figure in figures)])
        if chosen.against is not None:
            pairs = zip(processor, (found.processor_seconds for found in times[name, "there"]), strict=True)
            rows[-1].append(f"{statistics.median(ours / theirs for ours, theirs in pairs):.2f}")
    header = ["", "seconds, median", "least", "processor seconds"]
    if chosen.against is not None:
        header.append("/ those of the other checkout")
        rows[0].append("")
    print(f"{machine()}; {chosen.rounds} rounds\n\n{table(header, rows)}")


if __name__ == "__main__":
    main()
