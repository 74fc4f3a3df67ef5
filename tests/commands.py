"""Commands run as a user runs them, in a process and from a folder of their own, and their files read back."""

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SMALL = (  # a run of a few seconds on the built-in data
    "data.articles=60", "trainer.max_epochs=2", "model.num_filters=4", "model.feature_dim=4", "data.batch_size=16"
)  # fmt: skip


def environment(**extra: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return {**inherited, "WANDB_MODE": "disabled", "COLUMNS": "120", **extra}


def run(
    module: str,
    *arguments: str,
    cwd: Path,
    timeout: float = 180,
    stdin: str | None = None,
    fresh: bool = False,
    **extra: str,
) -> subprocess.CompletedProcess:
    """Run a command of safe_exp to its end.

    Args:
        module: its name, such as train.
        fresh: in a process that begins with Python itself, and not forked from one that has imported torch. So is a
            command with environment variables that libraries may read while they are imported.
        extra: environment variables.
    """
    if fresh or not all(name.startswith(("WANDB_", "SLURM_")) for name in extra):
        return subprocess.run(
            [sys.executable, "-m", f"safe_exp.{module}", *arguments],
            cwd=cwd, env=environment(**extra), input=stdin, capture_output=True, text=True, errors="replace",
            timeout=timeout, check=False,
        )  # fmt: skip
    return _warm_server().run(f"safe_exp.{module}", arguments, Path(cwd).resolve(), timeout, stdin or "", extra)


class _WarmServer:
    """The process of tests/warm_server.py, one for each process of pytest."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm_server"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def run(
        self, module: str, arguments: Sequence[str], cwd: Path, timeout: float, stdin: str, extra: dict[str, str]
    ) -> subprocess.CompletedProcess:
        with tempfile.TemporaryDirectory() as folder:
            files = {name: Path(folder, name) for name in ("stdin", "stdout", "stderr")}
            for name, path in files.items():
                path.write_text(stdin if name == "stdin" else "", encoding="utf-8")
            request = {"module": module, "arguments": arguments, "cwd": str(cwd), "environment": environment(**extra)}
            self.process.stdin.write(json.dumps({**request, "files": folder}) + "\n")
            self.process.stdin.flush()
            child = json.loads(self.process.stdout.readline())
            stop = threading.Timer(timeout, os.kill, (child, signal.SIGKILL))
            stop.start()
            code = json.loads(self.process.stdout.readline())
            stopped = stop.finished.is_set()
            stop.cancel()
            printed = [files[name].read_text(encoding="utf-8", errors="replace") for name in ("stdout", "stderr")]
        command = [sys.executable, "-m", module, *arguments]
        if stopped:
            raise subprocess.TimeoutExpired(command, timeout, *printed)
        return subprocess.CompletedProcess(command, code, *printed)


@cache
def _warm_server() -> _WarmServer:
    return _WarmServer()


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
