"""The speed-up of a sweep by hydra/launcher=stacked: python -m benchmarks.stacked

The sweep is the paper's grid, α × β × 5 seeds (175 jobs, `sweep=alpha_beta seed=0,1,2,3,4`), on the built-in data, with
all files of every job. The basic launcher would take most of an hour for it. In each round it runs one job and then a
few jobs instead; the time that a further job adds is multiplied by 174. Processor time is that of the command and its
child processes (without W&B's service): other work of the machine does not change it, and it does not show that the
stack's writers use a second core.

--processes N compares hydra.launcher.processes=N with 1 instead, without the basic launcher.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GRID = ("sweep=alpha_beta", "seed=0,1,2,3,4")
JOBS = 175
TINY = ("data.articles=40", "trainer.max_epochs=2", "model.feature_dim=4")
TINY_GRID, TINY_JOBS = ("model.alpha=0.5,1", "seed=0,1"), 4


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stacked", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    parser.add_argument(
        "--alone", type=int, default=5, help="jobs of the basic launcher in each round, 2 at least (default 5)"
    )
    parser.add_argument("--filters", type=int, nargs="+", default=[1], help="K; the paper's letter is 1")
    parser.add_argument("--loggers", nargs="+", default=["default", "csv"], help="values of logger")
    parser.add_argument("--tiny", action="store_true", help="four jobs of a second, to check that everything runs")
    parser.add_argument("--processes", type=int, help="hydra.launcher.processes, compared with 1")
    parser.add_argument("--seeds", type=int, default=5, help="with --processes: 35 jobs each (default 5)")
    chosen = parser.parse_args(arguments)
    if chosen.processes:
        print(f"{machine()}\n\n| | jobs | 1 process, s | {chosen.processes}, s | wall time | processor time |")
        print("| --- " * 6 + "|")
        for filters in chosen.filters:
            for logger in chosen.loggers:
                print(compare_processes(filters, logger, chosen), flush=True)
        print(f"\n{machine()}")
        return
    print(f"{machine()}\n\n| | jobs | basic, s | stacked, s | wall time | processor time |\n{'| --- ' * 6}|")
    for filters in chosen.filters:
        for logger in chosen.loggers:
            print(compare(filters, logger, chosen.rounds, chosen.alone, chosen.tiny), flush=True)
    print(f"\n{machine()}")


def compare(filters: int, logger: str, rounds: int, alone: int, tiny: bool) -> str:
    """Measure one line of the table."""
    folder = Path(tempfile.mkdtemp(prefix="safe_exp-benchmark-"))
    fixed = (f"model.num_filters={filters}", f"logger={logger}", *(TINY if tiny else ()))
    jobs = TINY_JOBS if tiny else JOBS
    found: dict[str, list[float]] = {"basic": [], "stacked": [], "wall": [], "processor": []}
    try:
        sweep(folder, "first", *fixed, "seed=0")  # makes the data set
        for number in range(rounds):
            one = sweep(folder, f"one-{number}", *fixed, "seed=0")
            few = sweep(folder, f"few-{number}", *fixed, f"seed={','.join(str(seed) for seed in range(alone))}")
            stacked = sweep(folder, f"all-{number}", *fixed, *(TINY_GRID if tiny else GRID), "hydra/launcher=stacked")
            whole = [a + (jobs - 1) * (b - a) / (alone - 1) for a, b in zip(one, few, strict=True)]
            found["basic"].append(whole[0])
            found["stacked"].append(stacked[0])
            found["wall"].append(whole[0] / stacked[0])
            found["processor"].append(whole[1] / stacked[1])
            print(
                f"round {number + 1}: one job {one}, {alone} jobs {few}, stacked {stacked}; {machine()}",
                file=sys.stderr,
            )
        seconds = [f"{statistics.median(found[name]):.0f}" for name in ("basic", "stacked")]
        ratios = [spread(found[name]) for name in ("wall", "processor")]
        return f"| K={filters}, logger={logger} | {jobs} | {' | '.join((*seconds, *ratios))} |"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compare_processes(filters: int, logger: str, chosen: argparse.Namespace) -> str:
    """Measure one line of the table of --processes; the ratios are those of 1 process to several."""
    folder = Path(tempfile.mkdtemp(prefix="safe_exp-benchmark-"))
    grid = TINY_GRID if chosen.tiny else ("sweep=alpha_beta", f"seed={','.join(map(str, range(chosen.seeds)))}")
    fixed = (f"model.num_filters={filters}", f"logger={logger}", *(TINY if chosen.tiny else ()))
    found: dict[int, list[tuple[float, float]]] = {1: [], chosen.processes: []}
    try:
        sweep(folder, "first", *fixed, "seed=0")  # makes the data set
        for number in range(chosen.rounds):
            for count, seconds in found.items():
                launcher = ("hydra/launcher=stacked", f"hydra.launcher.processes={count}")
                seconds.append(sweep(folder, f"{count}-{number}", *fixed, *grid, *launcher))
            print(f"round {number + 1}: {found}; {machine()}", file=sys.stderr)
        jobs = len(list(folder.glob("1-0/*/metrics.json")))
        medians = [f"{statistics.median(wall for wall, _ in seconds):.0f}" for seconds in found.values()]
        pairs = list(zip(found[1], found[chosen.processes], strict=True))
        ratios = [spread([one[i] / several[i] for one, several in pairs]) for i in (0, 1)]
        return f"| K={filters}, logger={logger} | {jobs} | {' | '.join((*medians, *ratios))} |"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path, name: str, *overrides: str) -> tuple[float, float]:
    """Measure wall and processor seconds of a sweep in `folder`/`name`, whose jobs must all finish."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "safe_exp.train", "-m", *overrides, f"hydra.sweep.dir={name}"], cwd=folder, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "WANDB_MODE": "offline"},
    )  # fmt: skip
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    for job in (folder / name).glob("[0-9]*"):
        assert (job / "metrics.json").exists(), f"{job} did not finish"
        assert (job / "curves.json").exists()
    return (wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def spread(ratios: list[float]) -> str:
    """Format the median and the range."""
    return f"{statistics.median(ratios):.1f} × ({min(ratios):.1f}-{max(ratios):.1f})"


def machine() -> str:
    """Describe cores, system, version and load in one line."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, load {load}"


if __name__ == "__main__":
    main()
