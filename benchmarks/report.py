"""The time and memory of the report on a large sweep: python -m benchmarks.report

The sweep is made of one real run on the built-in data: each job has its files, with a little noise on every
probability, similarity, figure and loss. The jobs are α × β × seeds, ten seeds for each pair. The last case has as many
test articles as GossipCop, under such names, so that the table beside the paper's figures reads those of every job.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, table
from safe_exp.scoring.epoch_values import CURVES_FILE
from safe_exp.system.files import read_sealed_json, write_sealed_json
from safe_exp.system.yaml_files import read_yaml

GOAL_SECONDS = 60  # for 1,000 jobs
SEEDS = 10  # of each pair of α and β
CASES = [(250, None), (1000, None), (1000, 2200)]  # jobs, and test articles (None: those of the run)
TINY = ("data.articles=40", "trainer.max_epochs=2", "model.num_filters=2", "model.feature_dim=4")
# The peak that wait4 returns counts this process too, which has imported torch.
MEASURED = """
import atexit, os, runpy, sys
if os.path.exists("/proc/self/status"):
    atexit.register(lambda: print(open("/proc/self/status").read()))
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
COPIED = (".hydra", "logs", "status.json")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="20 small jobs, to check that everything runs")
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="safe_exp-benchmark-"))
    try:
        command("train", folder, *(TINY if chosen.tiny else ()), "logger=csv", "hydra.run.dir=run")
        print(f"{machine()}\n")
        rows = []
        for number, (jobs, tested) in enumerate([(2 * SEEDS, None)] if chosen.tiny else CASES):
            sweep = folder / f"sweep-{number}"
            articles = write_sweep(folder / "run", sweep, jobs, tested)
            wall, processor, megabytes = command("report", folder, f"sweep={sweep.name}")
            assert (sweep / "report" / "index.html").exists()
            shutil.rmtree(sweep)
            goal = f"≤ {GOAL_SECONDS} s" if jobs == 1000 else ""
            case = f"{jobs} jobs, {articles} test articles"
            rows.append([case, f"{wall:.1f} s", goal, f"{processor:.1f} s", f"{megabytes:.0f} MB"])
        print(table(["", "report", "goal", "processor time", "peak memory"], rows))
        print(f"\n{machine()}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def command(name: str, folder: Path, *overrides: str) -> tuple[float, float, float]:
    """Run a command in `folder`: its wall and processor seconds, and the MB of its memory at most (NaN: not known)."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, f"safe_exp.{name}", *overrides], cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr)
    peak = re.search(r"VmHWM:\s*(\d+) kB", done.stdout)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, used, int(peak[1]) / 1024 if peak else math.nan


def write_sweep(run: Path, sweep: Path, jobs: int, tested: int | None = None) -> int:
    """Write the folder of a sweep of finished jobs, as variations of `run`, and return the number of test articles.

    Args:
        tested: number of test articles, which are repeated under names of GossipCop's; None: those of the run.
    """
    numbers = random.Random(0)
    pairs = -(-jobs // SEEDS)
    side = max(1, round(pairs**0.5))
    metrics = read_sealed_json(run / "metrics.json")[0]
    curves = read_sealed_json(run / CURVES_FILE)[0]
    with open(run / "predictions.csv", newline="", encoding="utf-8") as file:
        predictions = list(csv.DictReader(file))
    manifest = read_sealed_json(run / "artifacts" / "data_manifest.json")[0]
    test = [row for row in predictions if row["split"] == "test"]
    if tested is not None:
        predictions = [test[i % len(test)] | {"id": f"fake/gossipcop-{i}"} for i in range(tested)]
        manifest["split"] = {"test": [row["id"] for row in predictions]}
    config, started = read_yaml(run / ".hydra" / "config.yaml"), read_yaml(run / ".hydra" / "overrides.yaml", list)
    for number in range(jobs):
        pair, seed = divmod(number, SEEDS)
        values = {"model.alpha": (1 + pair % side) / 10, "model.beta": (1 + pair // side) / 10, "seed": seed}
        job = sweep / str(number)
        (job / "artifacts").mkdir(parents=True)
        for name in COPIED:
            (shutil.copytree if (run / name).is_dir() else shutil.copy)(run / name, job / name)
        config["model"] |= {"alpha": values["model.alpha"], "beta": values["model.beta"]}
        overrides = [*started, *(f"{key}={value}" for key, value in values.items())]
        for name, content in (("config", config | {"seed": seed}), ("overrides", overrides)):
            (job / ".hydra" / f"{name}.yaml").write_text(json.dumps(content), encoding="utf-8")
        write_sealed_json(job / "artifacts" / "data_manifest.json", manifest)
        varied = {split: _vary(metrics[split], numbers) for split in ("val", "test")}
        write_sealed_json(job / "metrics.json", metrics | varied)
        write_sealed_json(job / CURVES_FILE, _vary(curves, numbers))
        _write_predictions(job / "predictions.csv", predictions, numbers)
    return tested or len(test)


def _vary(value: Any, numbers: random.Random) -> Any:
    """Change every float of nested values a little; one in [0, 1] stays there."""
    if isinstance(value, dict):
        return {key: _vary(inner, numbers) for key, inner in value.items()}
    if isinstance(value, list):
        return [_vary(inner, numbers) for inner in value]
    if not isinstance(value, float):
        return value
    changed = value * (1 + numbers.gauss(0, 0.02))
    return min(changed, 1.0) if value <= 1 else changed


def _write_predictions(path: Path, rows: list[dict[str, str]], numbers: random.Random) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            noisy = {name: f"{_vary(float(row[name]), numbers):.6g}" for name in ("probability", "similarity")}
            writer.writerow(row | noisy)


if __name__ == "__main__":
    main()
