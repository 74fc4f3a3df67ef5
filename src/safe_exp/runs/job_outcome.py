"""The outcome of a job, read from its run folder: state, overrides, figures, curves and predictions.

Whatever is missing or damaged in the folder costs its own part alone, and never raises.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import shlex
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from safe_exp.config.figure_names import log_names
from safe_exp.system.csv_cells import from_cell
from safe_exp.system.files import read_sealed_json
from safe_exp.system.yaml_files import read_yaml

log = logging.getLogger(__name__)

NEAREST = 5e-7  # of a probability to 0 or 1: predictions.csv has six digits

STATES = ("finished", "failed", "interrupted", "running", "missing")
MULTIRUN = "multirun.yaml"


def job_folders(sweep: Path) -> dict[int, Path]:
    """List the folders of a sweep's jobs that are there, by number, in ascending order."""
    found = {int(path.name): path for path in sweep.iterdir() if path.name.isdecimal() and path.is_dir()}
    return dict(sorted(found.items()))


class ScoredArticle(NamedTuple):
    """A row of predictions.csv."""

    id: str
    label: int  # 1 = fake
    probability: float  # of fake
    similarity: float | None  # M_s; None for a variant that compares nothing

    @property
    def logit(self) -> float:
        """The logit ln ŷ/(1-ŷ); finite, though the file gives a probability next to 1 as 1."""
        probability = min(max(self.probability, NEAREST), 1 - NEAREST)
        return math.log(probability / (1 - probability))


@dataclass
class Job:
    """One job, most often of a sweep. Its larger files are read when they are first asked for."""

    number: int  # in its sweep
    folder: Path
    state: str  # one of STATES
    reason: str | None  # for which it is not finished
    overrides: dict[str, str]  # value by key, as on its command line
    metrics: dict[str, Any]  # content of metrics.json; empty unless finished

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its config as Hydra stored it, in plain values; empty when the job never came that far."""
        return read_yaml(self.folder / ".hydra" / "config.yaml")

    @cached_property
    def started_in(self) -> Path:
        """The working folder of its command, to which its relative paths refer."""
        settings = read_yaml(self.folder / ".hydra" / "hydra.yaml").get("hydra") or {}
        return Path((settings.get("runtime") or {}).get("cwd") or ".")

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Content of artifacts/data_manifest.json; empty when it is missing or damaged."""
        return _read_json(self.folder / "artifacts" / "data_manifest.json") or {}

    @cached_property
    def test_predictions(self) -> list[ScoredArticle]:
        """The test articles of predictions.csv, see `read_predictions`."""
        return self.read_predictions("test")

    def read_predictions(self, split: str) -> list[ScoredArticle]:
        """Read the articles of one side from predictions.csv; none when the file is missing or damaged.

        Articles without a finite probability, which a run with an exploded loss leaves, are left out.
        """
        rows = [row for row in _read_csv(self.folder / "predictions.csv") if row.get("split") == split]
        try:
            articles = [_scored_article(row) for row in rows]
        except (KeyError, TypeError, ValueError):
            log.warning("%s is damaged and left out.", self.folder / "predictions.csv")
            return []
        return [article for article in articles if math.isfinite(article.probability)]

    @cached_property
    def epochs(self) -> dict[str, dict[int, float]]:
        """Values of logs/ by logged name and epoch (from 0). Of a resumed run the later part of the log counts."""
        series: dict[str, dict[int, float]] = {}
        for path in sorted(self.folder.glob("logs/version_*/metrics.csv"), key=lambda path: path.stat().st_mtime):
            for row in _read_csv(path):
                for name, text in row.items():
                    if text and name and name.startswith(("train/loss", "val/")):
                        with suppress(KeyError, TypeError, ValueError):  # a row that was cut off
                            series.setdefault(name, {})[int(float(row["epoch"]))] = float(text)
        if self.state == "finished":  # the best checkpoint is scored once more, after the last epoch
            for name in series:
                if name.startswith("val/"):
                    series[name].pop(self.metrics["epochs"], None)
        return series

    def figure(self, split: str, name: str) -> float | None:
        """Return a figure of metrics.json by its logged name; None where it is undefined or the variant has none."""
        return self.figures(split).get(name)

    def figures(self, split: str) -> dict[str, float | None]:
        """Return all figures of a split of a finished job by their logged names."""
        return log_names(self.metrics[split])

    def score(self, monitor: str) -> float:
        """Return the score of a finished job: the validation figure that `callbacks.monitor` names."""
        value = self.figure("val", monitor.removeprefix("val/"))
        return math.nan if value is None else value

    def command(self) -> str:
        """Return the command that runs this job again or resumes it, to be given in `started_in`."""
        if (self.folder.parent / MULTIRUN).exists():
            return f"python -m safe_exp.train -m {shlex.quote(f'resume_sweep={self.folder.parent}')}"
        if (self.folder / "checkpoints" / "last.ckpt").exists():
            return f"python -m safe_exp.train {shlex.quote(f'resume={self.folder}')}"
        overrides = [f"{key}={value}" for key, value in self.overrides.items()]
        return shlex.join(["python", "-m", "safe_exp.train", *overrides, f"hydra.run.dir={self.folder}"])


def read_job(folder: Path, number: int, planned: list[str]) -> Job:
    """Read state, overrides and figures of a job.

    Args:
        number: its number in the sweep.
        planned: its overrides as the sweep planned them, for a job whose folder holds none.
    """
    overrides = [str(item) for item in read_yaml(folder / ".hydra" / "overrides.yaml", list)] or planned
    job = Job(number, folder, "missing", None, _split_overrides(overrides), {})
    status = _read_json(folder / "status.json")
    if status is None:
        if (folder / "status.json").exists():
            job.state, job.reason = "failed", "status.json cannot be read; was the folder copied whole?"
        else:
            job.reason = "started, but left no status.json" if folder.is_dir() else "never started"
        return job
    job.state, job.reason = str(status.get("state")), status.get("reason")
    if job.state == "finished":
        job.metrics = _usable_metrics(folder)
        if not job.metrics:
            job.state, job.reason = "failed", "finished, but metrics.json is missing or cannot be read"
    elif job.state == "running":
        job.state, job.reason = _running_or_gone(status)
    elif job.state not in STATES:
        job.state, job.reason = "failed", f"status.json gives a state that is not known: {job.state}"
    return job


def _running_or_gone(status: dict[str, Any]) -> tuple[str, str]:
    """Return state and reason of a job whose status.json says `running`; on this machine, look its process up."""
    host, pid = status.get("host"), status.get("pid")
    since = f"since {status.get('started')} on {host}"
    if host != socket.gethostname() or not isinstance(pid, int):
        return "running", f"{since}; whether it still runs can only be seen there"
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return "interrupted", f"killed: its process {pid} is gone, though it never said why"
    except OSError:  # another user's process, which is there
        pass
    return "running", since


def _usable_metrics(folder: Path) -> dict[str, Any]:
    """Read metrics.json of a training run or a baseline; empty where it is damaged or lacks what reports need."""
    try:
        metrics, _ = read_sealed_json(folder / "metrics.json")
    except (OSError, ValueError, RecursionError):
        return {}
    for split in ("val", "test"):
        if not isinstance(metrics.get(split), dict) or not isinstance(metrics[split].get("prediction"), dict):
            return {}
    return metrics if isinstance(metrics.get("epochs"), int) or "baseline" in metrics else {}


def _split_overrides(overrides: list[str]) -> dict[str, str]:
    """Return the value of each override by its key, without Hydra's own."""
    pairs = (override.lstrip("+").partition("=") for override in overrides)
    return {key: value for key, _, value in pairs if not key.startswith("hydra.")}


def _scored_article(row: dict[str, str]) -> ScoredArticle:
    similarity = float(row["similarity"]) if row["similarity"] else math.nan
    return ScoredArticle(
        from_cell(row["id"]),
        int(row["label"]),
        float(row["probability"]),
        similarity if math.isfinite(similarity) else None,
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where the file is missing or holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _read_csv(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file; none where it is missing or damaged."""
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            return list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
