"""The speed-up of a sweep by hydra/launcher=stacked, beside its goal: python -m benchmarks.stacked

The sweep is the paper's grid, α × β × 5 seeds (175 jobs, `sweep=alpha_beta seed=0,1,2,3,4`), on the built-in data, with
all files of every job. The basic launcher would take most of an hour for it. In each round it runs one job and then a
few jobs instead; the time that a further job adds is multiplied by 174. Processor time is that of the command and its
child processes (without W&B's service): other work of the machine does not change it, and it does not show that the
stack's writers use a second core.

--against FOLDER takes the basic launcher of another checkout, such as that of an earlier commit.
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
GOALS = {(1, "csv"): 15, (1, "default"): 12, (32, "default"): 6}  # basic / stacked, by K and logger; default: with W&B
TINY = ("data.articles=40", "trainer.max_epochs=2", "model.feature_dim=4")
TINY_GRID, TINY_JOBS = ("model.alpha=0.5,1", "seed=0,1"), 4
CHECKOUT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stacked", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    parser.add_argument(
        "--alone", type=int, default=5, help="jobs of the basic launcher in each round, 2 at least (default 5)"
    )
    parser.add_argument("--filters", type=int, nargs="+", help="K (default: those of the goals; the paper's letter: 1)")
    parser.add_argument("--loggers", nargs="+", help="values of logger (default: those of the goals)")
    parser.add_argument("--tiny", action="store_true", help="four jobs of a second, to check that everything runs")
    parser.add_argument("--against", type=Path, default=CHECKOUT, help="checkout whose basic launcher is run")
    parser.add_argument("--processes", type=int, help="hydra.launcher.processes, compared with 1")
    parser.add_argument("--seeds", type=int, default=5, help="with --processes: 35 jobs each (default 5)")
    chosen = parser.parse_args(arguments)
    cases = list(GOALS)
    if chosen.filters or chosen.loggers:
        cases = [(k, logger) for k in chosen.filters or [1] for logger in chosen.loggers or ["default", "csv"]]
    if chosen.processes:
        header = ["", "jobs", *columns("1 process", f"{chosen.processes} processes")]
    else:
        header = ["", "jobs", *columns("basic", "stacked"), "goal", "met"]
    print(f"{machine()}\n\n| {' | '.join(header)} |\n{'| --- ' * len(header)}|")
    for filters, logger in cases:
        compared = compare_processes(filters, logger, chosen) if chosen.processes else compare(filters, logger, chosen)
        print(f"| K={filters}, logger={logger} | {' | '.join(compared)} |", flush=True)
    print(f"\n{machine()}")


def columns(slow: str, fast: str) -> list[str]:
    """Name the columns of `figures`."""
    return [f"{slow}, wall s", f"{fast}, wall s", "ratio", f"{slow}, processor s", f"{fast}, processor s", "ratio"]


def compare(filters: int, logger: str, chosen: argparse.Namespace) -> list[str]:
    """Measure one line of the table."""
    folder = Path(tempfile.mkdtemp(prefix="safe_exp-benchmark-"))
    fixed = (f"model.num_filters={filters}", f"logger={logger}", *(TINY if chosen.tiny else ()))
    jobs, alone = TINY_JOBS if chosen.tiny else JOBS, chosen.alone
    basic, stacked = [], []
    try:
        sweep(folder, "first", *fixed, "seed=0")  # makes the data set
        for number in range(chosen.rounds):
            seeds = f"seed={','.join(str(seed) for seed in range(alone))}"
            one = sweep(folder, f"one-{number}", *fixed, "seed=0", checkout=chosen.against)
            few = sweep(folder, f"few-{number}", *fixed, seeds, checkout=chosen.against)
            grid = TINY_GRID if chosen.tiny else GRID
            stacked.append(sweep(folder, f"all-{number}", *fixed, *grid, "hydra/launcher=stacked"))
            basic.append(tuple(a + (jobs - 1) * (b - a) / (alone - 1) for a, b in zip(one, few, strict=True)))
            print(
                f"round {number + 1}: one job {one}, {alone} jobs {few}, stacked {stacked[-1]}; {machine()}",
                file=sys.stderr,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    goal = None if chosen.tiny else GOALS.get((filters, logger))
    reached = [statistics.median(a[i] / b[i] for a, b in zip(basic, stacked, strict=True)) for i in (0, 1)]
    met = (
        ""
        if goal is None
        else " and ".join(
            f"{name}: {'yes' if ratio >= goal else 'no'}"
            for name, ratio in zip(("wall", "processor"), reached, strict=True)
        )
    )
    return [str(jobs), *figures(basic, stacked), "" if goal is None else f"{goal} ×", met]


def compare_processes(filters: int, logger: str, chosen: argparse.Namespace) -> list[str]:
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
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [str(jobs), *figures(found[1], found[chosen.processes])]


def figures(slow: list[tuple[float, float]], fast: list[tuple[float, float]]) -> list[str]:
    """Format the medians of wall and processor seconds, and of their ratios in each round."""
    cells = []
    for i in (0, 1):
        cells += [f"{statistics.median(seconds[i] for seconds in each):.0f}" for each in (slow, fast)]
        cells.append(spread([a[i] / b[i] for a, b in zip(slow, fast, strict=True)]))
    return cells


def sweep(folder: Path, name: str, *overrides: str, checkout: Path = CHECKOUT) -> tuple[float, float]:
    """Measure wall and processor seconds of a sweep in `folder`/`name`, whose jobs must all finish."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "safe_exp.train", "-m", *overrides, f"hydra.sweep.dir={name}"], cwd=folder, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "WANDB_MODE": "offline", "PYTHONPATH": str(checkout.resolve() / "src")},
    )  # fmt: skip
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    for job in (folder / name).glob("[0-9]*"):
        assert (job / "metrics.json").exists(), f"{job} did not finish"
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
