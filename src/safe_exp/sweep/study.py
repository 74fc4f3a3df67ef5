"""A sweep whose jobs optuna suggests one after the other, from what the earlier ones reached."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from safe_exp.runs.job import sigterm_as_exit
from safe_exp.runs.outcome import MULTIRUN, read_job
from safe_exp.sweep.run import alone, report_command, resume_command, write_settings
from safe_exp.sweep.table import print_jobs
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path

log = logging.getLogger(__name__)

STUDY = "study.db"  # in the sweep's folder; conf/sweep/optuna.yaml
ENDED = ("COMPLETE", "FAIL", "PRUNED")


def run_study(folder: Path, sweeper: Any, arguments: list[str], settings: str) -> Any:
    """Run what is missing of the study's `n_trials`.

    Suggestions of an earlier start count as done, whether their jobs finished or failed. A job that was interrupted is
    not continued: its suggestion has no score, and another one is drawn in its place.

    Args:
        sweeper: the OptunaSweeperImpl of hydra-optuna-sweeper.
        arguments: the overrides of the command line.
        settings: what multirun.yaml is to hold.
    """
    with alone(folder), sigterm_as_exit():
        write_settings(folder / MULTIRUN, settings)
        done, numbers = ended_trials(folder / STUDY), _numbers(folder)
        if done >= sweeper.n_trials:
            log.info("All %d trials have been run.", done)
            print_jobs([read_job(folder / str(number), number, []) for number in numbers])
            return None
        if done:
            log.info("%d trials have been run, %d are left.", done, sweeper.n_trials - done)
            sweeper.sampler.reseed_rng()  # the seed would draw the first suggestions once more
        sweeper.n_trials -= done
        sweeper.job_idx = max(numbers, default=-1) + 1  # the folders of earlier jobs stay as they are
        try:
            results = sweeper.sweep(arguments)
        except BaseException:
            log.warning("To go on: %s", resume_command(folder))
            raise
        finally:
            print_jobs([read_job(folder / str(number), number, []) for number in _numbers(folder)])
        log.info("The best trial is in %s. For tables and figures: %s",
                 short_path(folder / "optimization_results.yaml"), report_command(folder))  # fmt: skip
        return results


def ended_trials(path: Path) -> int:
    """How many trials of a study have an outcome.

    Raises:
        UserError: the file is no data base of optuna's.
    """
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path)) as data_base:
            marks = ", ".join("?" * len(ENDED))
            (count,) = data_base.execute(f"SELECT COUNT(*) FROM trials WHERE state IN ({marks})", ENDED).fetchone()
            return count
    except sqlite3.OperationalError:  # no table yet: stopped before the first trial
        return 0
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path} is no study of optuna's ({error}). Restore it, or start another sweep.") from error


def _numbers(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())
