"""Runs the unfinished jobs of a sweep's folder, and lists the state of every job at the end."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml

from safe_exp.runs.job_outcome import MULTIRUN, Job, job_folders, read_job
from safe_exp.runs.settings import require_same_settings
from safe_exp.runs.sigterm import sigterm_as_exit
from safe_exp.runs.status import EXIT_CODES, record_gone
from safe_exp.sweep.table import print_jobs
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path, whole_file
from safe_exp.system.lock import LOCK_NAME, locked
from safe_exp.system.versions import PACKAGE, git_commit
from safe_exp.system.yaml_files import YamlLoader, read_yaml

log = logging.getLogger(__name__)

Launch = Callable[..., Sequence[Any]]  # Launcher.launch of Hydra


def run_sweep(folder: Path, jobs: list[list[str]], launch: Launch, settings: str) -> Sequence[Any]:
    """Run the jobs that have not finished in `folder`/<number>/. An interrupted job continues from its checkpoint.

    Args:
        folder: of the sweep.
        jobs: the overrides of each job, by number.
        launch: Hydra's launcher; runs a list of jobs, each given by its overrides.
        settings: content of multirun.yaml, which is written when the sweep is new.
    Returns:
        What `launch` returned for the jobs that it ran.
    Raises:
        UserError: another process runs this sweep, `folder` holds jobs of another grid, conf/ has changed since the
            start, or a job did not finish; the message says what to do.
        SystemExit: the sweep was interrupted.
    """
    with lock_sweep(folder), sigterm_as_exit():  # SIGTERM between two jobs too
        for number in range(len(jobs)):  # before the states are read, since a running job may still finish
            _wait_for(folder / str(number))
        before = [read_job(folder / str(number), number, overrides) for number, overrides in enumerate(jobs)]
        _require_same_grid(folder, jobs)
        write_settings(folder / MULTIRUN, settings)
        todo = [job.number for job in before if job.state != "finished"]
        _announce(folder, before, todo)
        results: Sequence[Any] = []
        try:
            results = _launch_all(folder, jobs, todo, launch)
        except KeyboardInterrupt:  # in a launcher's processes, or in this one between two jobs
            _conclude(folder, jobs)
            raise SystemExit(EXIT_CODES["interrupted"]) from None  # a traceback would hide the table
        except BaseException:  # from an interrupted job, or from a launcher that fails as a whole
            _conclude(folder, jobs)
            raise
        unfinished = _conclude(folder, jobs)
        if unfinished:
            raise UserError(
                f"{len(unfinished)} of {len(jobs)} jobs did not finish; their status.json says why. When the cause is "
                f"gone, run them again with: {resume_command(folder)}"
            )
        return results


def _launch_all(folder: Path, jobs: list[list[str]], todo: list[int], launch: Launch) -> Sequence[Any]:
    """Launch the jobs. If the launcher breaks off, launch again those that it never started, unless it started none."""
    results: Sequence[Any] = []
    while todo:
        placed = [[*jobs[number], f"hydra.sweep.subdir={number}"] for number in todo]
        in_a_row = todo == list(range(todo[0], todo[-1] + 1))  # launchers count on from the first number
        try:
            return launch(placed, initial_job_idx=todo[0] if in_a_row else 0)
        except Exception as error:  # joblib gives up its whole pool when one worker is killed
            left = [number for number in todo if read_job(folder / str(number), number, []).state == "missing"]
            if len(left) == len(todo):
                if type(error).__module__.startswith("submitit"):  # holds the message of the cluster's command
                    raise UserError(
                        f"The launcher could start no job. {' '.join(str(error).split())} When the cluster takes jobs: "
                        f"{resume_command(folder)}"
                    ) from error
                raise
            log.warning("The launcher broke off (%s); %d jobs had not started.", type(error).__name__, len(left))
            todo = left
    return results


def resume_command(folder: Path) -> str:
    """Write the shell command that resumes a sweep."""
    return f"python -m safe_exp.train -m {shlex.quote(f'resume_sweep={short_path(folder)}')}"


def report_command(folder: Path) -> str:
    """Write the shell command that reports on a sweep."""
    return f"python -m safe_exp.report {shlex.quote(f'sweep={short_path(folder)}')}"


def write_settings(path: Path, settings: str) -> None:
    """Write multirun.yaml when the sweep is new; on a resume compare it with the settings of now.

    Args:
        path: of multirun.yaml.
        settings: its content, as YAML.
    Raises:
        UserError: conf/ has changed since the start, so that the jobs of one sweep would differ.
    """
    if not path.exists():
        with whole_file(path) as draft:
            draft.write_text(settings, encoding="utf-8")
        return
    require_same_settings(str(short_path(path.parent)), "sweep", read_yaml(path), yaml.load(settings, YamlLoader))


def lock_sweep(folder: Path) -> AbstractContextManager[None]:
    """Lock a sweep for this process: two processes that resume it would run each job twice.

    Raises:
        UserError: another process holds the lock.
    """
    refusal = f"{short_path(folder)}: another process is running this sweep. Wait for it, or stop it."
    return locked(folder / LOCK_NAME, refusal, refuse=True)


def _require_same_grid(folder: Path, jobs: list[list[str]]) -> None:
    """Refuse a folder that holds jobs of another grid.

    Raises:
        UserError: the message names the first job that differs.
    """
    for number, path in job_folders(folder).items():
        there = [str(item) for item in read_yaml(path / ".hydra" / "overrides.yaml", list)]
        here = jobs[number] if number < len(jobs) else None
        if there and (here is None or set(there) != set(here)):
            now = " ".join(here) if here is not None else "no such job"
            raise UserError(
                f"{short_path(folder)}: job {number} ran with {' '.join(there)}, and would now be {now}. A sweep is "
                "resumed with the grid that it was started with; start another one for another grid."
            )


def _announce(folder: Path, before: list[Job], todo: list[int]) -> None:
    """Log how many jobs are run, and a warning if the finished ones ran with other code."""
    finished = len(before) - len(todo)
    if not any(job.folder.exists() for job in before):
        log.info("%d jobs, in %s", len(before), short_path(folder))
        return
    log.info("%d jobs in %s: %d have finished, %d are run now.", len(before), short_path(folder), finished, len(todo))
    here = git_commit(PACKAGE.parents[1])
    commits = {str(_commit(job)) for job in before if job.state == "finished"} - {str(here)}
    if commits and finished:
        log.warning(
            "The finished jobs ran with other code: %s, and now it is %s. Compare them with that in mind.",
            ", ".join(sorted(commits)), here,
        )  # fmt: skip


def _commit(job: Job) -> Any:
    """Read the git commit that a job ran with."""
    return read_yaml(job.folder / "status.json").get("git_commit")  # JSON is YAML


def _wait_for(folder: Path) -> None:
    """Wait for a process of an earlier, killed sweep that still runs this job."""
    if folder.is_dir():
        told = f"Job {folder.name} is still being run by a process of the earlier sweep; waiting for it."
        with locked(folder / LOCK_NAME, told):
            pass


def _conclude(folder: Path, jobs: list[list[str]]) -> list[Job]:
    """Print the state of every job and how to go on, and return the jobs that have not finished."""
    after = [read_job(folder / str(number), number, overrides) for number, overrides in enumerate(jobs)]
    for job in after:
        if job.state == "interrupted":  # joblib kills its workers on Ctrl-C, some before they have written their status
            record_gone(job.folder, str(job.reason))
    print_jobs(after)
    unfinished = [job for job in after if job.state != "finished"]
    if any(job.state in ("interrupted", "missing") for job in unfinished):
        log.warning("To go on: %s", resume_command(folder))
    elif not unfinished:
        all_jobs = "The only job has" if len(after) == 1 else f"All {len(after)} jobs have"
        log.info("%s finished. For tables and figures: %s", all_jobs, report_command(folder))
    return unfinished
