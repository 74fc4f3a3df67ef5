"""Commands run as a user runs them, in a process and from a folder of their own, and their files read back."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

SMALL = (  # a run of a few seconds on the built-in data
    "data.articles=60", "trainer.max_epochs=2", "model.num_filters=4", "model.feature_dim=4", "data.batch_size=16"
)  # fmt: skip


def environment(**extra: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return {**inherited, "WANDB_MODE": "disabled", "COLUMNS": "120", **extra}


def run(
    module: str, *arguments: str, cwd: Path, timeout: float = 180, stdin: str | None = None, **extra: str
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", f"safe_exp.{module}", *arguments],
        cwd=cwd, env=environment(**extra), input=stdin, capture_output=True, text=True, errors="replace",
        timeout=timeout, check=False,
    )  # fmt: skip


def only_run(folder: Path) -> Path:
    """Find the one run folder below outputs/."""
    runs = sorted(path.parent for path in folder.glob("outputs/*/*/status.json"))
    assert len(runs) == 1, runs
    return runs[0]


def read_json(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def read_metrics(run_folder: Path) -> dict:
    """Read metrics.json without what differs between two equal runs: the seconds, and the digest, which covers them."""
    metrics = read_json(run_folder / "metrics.json")
    return {key: value for key, value in metrics.items() if key not in ("seconds", "digest")}


def read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))
