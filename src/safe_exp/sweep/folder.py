"""Reads the folder of a sweep: its jobs and the state of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from safe_exp.runs.job_outcome import MULTIRUN, STATES, Job, job_folders, read_job
from safe_exp.sweep.planned import planned_jobs
from safe_exp.system.errors import UserError
from safe_exp.system.yaml_files import read_yaml


@dataclass
class Sweep:
    """The jobs of a sweep, as they are in its folder."""

    folder: Path  # absolute
    jobs: list[Job]  # by number

    @property
    def finished(self) -> list[Job]:
        """The jobs that have finished."""
        return [job for job in self.jobs if job.state == "finished"]

    @property
    def counts(self) -> dict[str, int]:
        """Number of jobs in each state, in the order of STATES."""
        counts = Counter(job.state for job in self.jobs)
        return {state: counts[state] for state in STATES}

    @cached_property
    def group(self) -> str:
        """Name of the group of the sweep's runs in W&B, as `safe_exp.runs.names.sweep_name` made it."""
        for job in self.jobs:
            hydra = read_yaml(job.folder / ".hydra" / "hydra.yaml").get("hydra") or {}
            folder = str((hydra.get("sweep") or {}).get("dir") or "")
            if "${" in folder:  # unresolved: it holds the time of the start; the job's own folder has the result
                folder = str(Path((hydra.get("runtime") or {}).get("output_dir", "")).parent)
            if folder:
                return "-".join(Path(folder).parts[-2:])
        return "-".join(self.folder.parts[-2:])


def read_sweep(given: str | Path, track: Callable[[Iterable[int]], Iterable[int]] | None = None) -> Sweep:
    """Read the state of every job of a sweep.

    Args:
        given: the sweep's folder, as the user wrote it.
        track: wraps the iteration over the jobs' numbers, to show progress.
    Raises:
        UserError: the folder is missing, is that of one run, holds no job, holds jobs of safe_exp.baseline, or none of
            its jobs has finished.
    """
    sweep = _read_jobs(given, "sweep", track)
    if any("baseline" in job.config for job in sweep.jobs):
        raise UserError(
            f"sweep={given}: these are jobs of safe_exp.baseline. A report is about the jobs of safe_exp.train; with "
            f"baselines={given} it puts these beside them."
        )
    _require_finished(sweep, given, "sweep")
    return sweep


def read_baselines(given: str | Path) -> list[Job]:
    """Read the finished jobs of a sweep of safe_exp.baseline.

    Raises:
        UserError: the folder is missing, is that of one run, holds no job, holds other jobs, or none has finished.
    """
    sweep = _read_jobs(given, "baselines")
    _require_finished(sweep, given, "baselines")
    if not all("baseline" in job.config for job in sweep.finished):
        raise UserError(
            f"baselines={given}: these are no jobs of safe_exp.baseline. Give the folder that "
            "`python -m safe_exp.baseline -m …` wrote."
        )
    return sweep.finished


def _read_jobs(given: str | Path, key: str, track: Callable[[Iterable[int]], Iterable[int]] | None = None) -> Sweep:
    folder = Path(given).expanduser().resolve()
    _require_sweep(folder, f"{key}={given}")
    found = job_folders(folder)
    planned = dict(enumerate(planned_jobs(folder / MULTIRUN) or []))
    numbers: Iterable[int] = sorted(found.keys() | planned.keys())
    if not numbers:
        command = "train" if key == "sweep" else "baseline"
        raise UserError(
            f"{key}={given}: no job is in this folder: neither {MULTIRUN} nor a numbered folder. Give the folder that "
            f"`python -m safe_exp.{command} -m …` wrote, such as multirun/<date>/<time>."
        )
    numbers = track(numbers) if track else numbers
    return Sweep(folder, [read_job(folder / str(number), number, planned.get(number, [])) for number in numbers])


def _require_finished(sweep: Sweep, given: str | Path, key: str) -> None:
    if not sweep.finished:
        counts = ", ".join(f"{count} {state}" for state, count in sweep.counts.items() if count)
        reasons = [f" Job {job.number}: {job.reason}" for job in sweep.jobs if job.state == "failed"][:1]
        raise UserError(
            f"{key}={given}: no job has finished ({counts}), so there is nothing to report.{''.join(reasons)}"
        )


def _require_sweep(folder: Path, given: str) -> None:
    """Refuse a folder that is missing, or that of one run.

    Args:
        given: as the user wrote it, with its key.
    Raises:
        UserError: it names the folder that is meant, where that is known.
    """
    if not folder.is_dir():
        raise UserError(f"{given}: there is no such folder (looked at {folder}). Give the folder of a sweep.")
    if not (folder / MULTIRUN).exists() and ((folder / "status.json").exists() or (folder / ".hydra").is_dir()):
        parent = f" This one belongs to a sweep: sweep={folder.parent}" if (folder.parent / MULTIRUN).exists() else ""
        raise UserError(
            f"{given}: this is the folder of one run; run={folder} draws it, and its metrics.json has its results. "
            f"A report needs the folder above the jobs of `python -m safe_exp.train -m …`.{parent}"
        )
