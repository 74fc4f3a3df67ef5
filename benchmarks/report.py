"""The time and memory of the report on a large sweep: python -m benchmarks.report

The sweep is made of one real run on the built-in data: each job has its files, with a little noise on every
probability, similarity, figure and loss. The jobs are α × β × seeds, ten seeds for each pair.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
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

JOBS, GOAL_SECONDS = 1000, 60
SEEDS = 10
TINY = ("data.articles=40", "trainer.max_epochs=2", "model.num_filters=2", "model.feature_dim=4")
COPIED = (".hydra", "logs", "status.json")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[JOBS // 4, JOBS], help="(default 250 1000)")
    parser.add_argument("--articles", type=int, default=800, help="of the data set, a fifth of them for test")
    parser.add_argument("--tiny", action="store_true", help="20 small jobs, to check that everything runs")
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="safe_exp-benchmark-"))
    try:
        given = (f"data.articles={chosen.articles}", *(TINY if chosen.tiny else ()), "logger=csv")
        command("train", folder, *given, "hydra.run.dir=run")
        print(f"{machine()}\n")
        rows = []
        for jobs in [2 * SEEDS] if chosen.tiny else chosen.jobs:
            write_sweep(folder / "run", folder / f"sweep-{jobs}", jobs)
            wall, processor, megabytes = command("report", folder, f"sweep=sweep-{jobs}")
            goal = f"≤ {GOAL_SECONDS} s" if jobs == JOBS else ""
            rows.append([str(jobs), f"{wall:.1f} s", goal, f"{processor:.1f} s", f"{megabytes:.0f} MB"])
            assert (folder / f"sweep-{jobs}" / "report" / "index.html").exists()
        print(table(["jobs", "report", "goal", "processor time", "peak memory"], rows))
        print(f"\n{machine()}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def command(name: str, folder: Path, *overrides: str) -> tuple[float, float, float]:
    """Run a command in `folder`: its wall and processor seconds, and the MB of its memory at most."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", f"safe_exp.{name}", *overrides], cwd=folder, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"python -m safe_exp.{name} {' '.join(overrides)} ended with code {process.returncode}.")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def write_sweep(run: Path, sweep: Path, jobs: int, tested: int | None = None, seeds: int = SEEDS) -> None:
    """Write the folder of a sweep of finished jobs, as variations of `run`.

    Args:
        tested: number of test articles, which are repeated under names of GossipCop's; None: those of the run.
        seeds: jobs of each pair of α and β.
    """
    numbers = random.Random(0)
    pairs = -(-jobs // seeds)
    side = max(1, round(pairs**0.5))
    metrics = read_sealed_json(run / "metrics.json")[0]
    curves = read_sealed_json(run / CURVES_FILE)[0]
    with open(run / "predictions.csv", newline="", encoding="utf-8") as file:
        predictions = list(csv.DictReader(file))
    manifest = read_sealed_json(run / "artifacts" / "data_manifest.json")[0]
    if tested is not None:
        test = [row for row in predictions if row["split"] == "test"]
        predictions = [test[i % len(test)] | {"id": f"fake/gossipcop-{i}"} for i in range(tested)]
        manifest["split"] = {"test": [row["id"] for row in predictions]}
    config, started = read_yaml(run / ".hydra" / "config.yaml"), read_yaml(run / ".hydra" / "overrides.yaml", list)
    for number in range(jobs):
        pair, seed = divmod(number, seeds)
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
