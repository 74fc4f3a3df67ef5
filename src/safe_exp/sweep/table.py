"""The table of jobs that a sweep prints at its end."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from safe_exp.runs.job_outcome import Job

STATE_STYLES = {"finished": "green", "failed": "red", "interrupted": "yellow", "running": "cyan", "missing": "dim"}
MAX_REASON_LENGTH = 60  # characters of a reason; status.json has all of it


def _jobs_table(jobs: Sequence[Job]) -> Table:
    """Build a table of job, overrides, state, score and seconds; the score is the monitored figure of validation."""
    monitors = {_monitor(job) for job in jobs if job.state == "finished"}
    score = monitors.pop() if len(monitors) == 1 else "score"
    values: dict[str, set[str]] = {}
    for job in jobs:
        for key, value in job.overrides.items():
            values.setdefault(key, set()).add(value)
    common = [f"{key}={min(found)}" for key, found in values.items() if len(found) == 1 and len(jobs) > 1]
    table = Table(title="Jobs", caption=escape(f"All with {' '.join(common)}") if common else None)
    table.add_column("job", justify="right")
    table.add_column("overrides", overflow="fold")
    table.add_column("state")
    table.add_column(score, justify="right")
    table.add_column("seconds", justify="right")
    for job in jobs:
        finished = job.state == "finished"
        figure = job.figure("val", _monitor(job).removeprefix("val/")) if finished else None
        reason = f": {' '.join((job.reason or '').split())[:MAX_REASON_LENGTH]}" if job.state == "failed" else ""
        table.add_row(
            str(job.number),
            escape(
                " ".join(f"{key}={value}" for key, value in job.overrides.items() if f"{key}={value}" not in common)
            ),
            f"[{STATE_STYLES[job.state]}]{job.state}[/]{escape(reason)}",
            "–" if figure is None or not math.isfinite(figure) else f"{figure:.4f}",
            f"{job.metrics['seconds']:.0f}" if finished else "–",
        )
    return table


def print_jobs(jobs: Sequence[Job]) -> None:
    """Print the table of jobs on standard error."""
    Console(stderr=True).print(_jobs_table(jobs))


def _monitor(job: Job) -> str:
    """Read the name of the figure that a job monitors."""
    return str((job.config.get("callbacks") or {}).get("monitor") or "val/loss_prediction")
