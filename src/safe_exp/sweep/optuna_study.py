"""Sweeps by optuna, which suggests each job from the scores of the jobs before it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from safe_exp.runs.job_outcome import MULTIRUN, job_folders, read_job
from safe_exp.runs.sigterm import sigterm_as_exit
from safe_exp.sweep.compat import continue_study
from safe_exp.sweep.run import lock_sweep, report_command, resume_command, write_settings
from safe_exp.sweep.table import print_jobs
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path

log = logging.getLogger(__name__)

STUDY_FILE = "study.db"  # in the sweep's folder; as in conf/sweep/optuna.yaml


def run_study(sweeper: Any, sweep: Callable[[list[str]], Any], arguments: list[str]) -> Any:
    """Run the trials that are missing to the study's `n_trials`.

    Trials of an earlier start count whether their jobs finished or failed. An interrupted job is not resumed: its trial
    has no score, and another suggestion is drawn instead.

    Args:
        sweeper: hydra_plugins.safe_exp_study.StudySweeper, set up.
        sweep: hydra-optuna-sweeper's own `sweep`, which runs `n_trials` trials.
        arguments: the overrides of the command line.
    Returns:
        The result of `sweep`; None if no trial is missing.
    Raises:
        UserError: another process runs this sweep, conf/ has changed since its start, or study.db is damaged.
    """
    folder, trials = Path(sweeper.config.hydra.sweep.dir), sweeper.config.hydra.sweeper.n_trials
    folder.mkdir(parents=True, exist_ok=True)
    with lock_sweep(folder), sigterm_as_exit():
        write_settings(folder / MULTIRUN, OmegaConf.to_yaml(sweeper.config))
        done, numbers = count_ended_trials(folder / STUDY_FILE), list(job_folders(folder))
        if done >= trials:
            log.info("All %d trials have been run.", done)
            print_jobs([read_job(folder / str(number), number, []) for number in numbers])
            return None
        if done:
            log.info("%d trials have been run, %d are left.", done, trials - done)
        # New jobs get new folders. The sampler is seeded anew: its own seed would draw the first suggestions again.
        continue_study(sweeper, trials - done, first_job=max(numbers, default=-1) + 1, reseed=done > 0)
        try:
            results = sweep(arguments)
        except BaseException:
            log.warning("To go on: %s", resume_command(folder))
            raise
        finally:
            print_jobs([read_job(folder / str(number), number, []) for number in job_folders(folder)])
        log.info("The best trial is in %s. For tables and figures: %s",
                 short_path(folder / "optimization_results.yaml"), report_command(folder))  # fmt: skip
        return results


def count_ended_trials(path: Path) -> int:
    """Count the trials of a study that finished or failed.

    Args:
        path: of the study's SQLite file; 0 if there is none.
    Raises:
        UserError: the file is not a study of optuna.
    """
    import optuna
    from sqlalchemy.exc import DatabaseError

    if not path.exists():
        return 0
    storage = f"sqlite:///{path}"
    try:
        names = [found.study_name for found in optuna.get_all_study_summaries(storage)]
        studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
    except DatabaseError as error:
        raise UserError(
            f"{path} is not a study of optuna ({error.orig}). Restore it, or start another sweep."
        ) from error
    return sum(trial.state.is_finished() for study in studies for trial in study.get_trials(deepcopy=False))
