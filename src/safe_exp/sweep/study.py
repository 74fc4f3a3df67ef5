"""A sweep whose jobs optuna suggests one after the other, from what the earlier ones reached."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from safe_exp.runs.outcome import MULTIRUN, read_job
from safe_exp.runs.sigterm import sigterm_as_exit
from safe_exp.sweep.compat import continue_study
from safe_exp.sweep.run import alone, report_command, resume_command, write_settings
from safe_exp.sweep.table import print_jobs
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path

log = logging.getLogger(__name__)

STUDY = "study.db"  # in the sweep's folder; conf/sweep/optuna.yaml


def run_study(sweeper: Any, sweep: Callable[[list[str]], Any], arguments: list[str]) -> Any:
    """Run what is missing of the study's `n_trials`.

    Suggestions of an earlier start count as done, whether their jobs finished or failed. A job that was interrupted is
    not continued: its suggestion has no score, and another one is drawn in its place.

    Args:
        sweeper: hydra_plugins.safe_exp_study.StudySweeper, set up.
        sweep: hydra-optuna-sweeper's own run of `n_trials` trials.
        arguments: the overrides of the command line.
    """
    folder, trials = Path(sweeper.config.hydra.sweep.dir), sweeper.config.hydra.sweeper.n_trials
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder), sigterm_as_exit():
        write_settings(folder / MULTIRUN, OmegaConf.to_yaml(sweeper.config))
        done, numbers = ended_trials(folder / STUDY), _numbers(folder)
        if done >= trials:
            log.info("All %d trials have been run.", done)
            print_jobs([read_job(folder / str(number), number, []) for number in numbers])
            return None
        if done:
            log.info("%d trials have been run, %d are left.", done, trials - done)
        # The folders of earlier jobs stay as they are, and the seed would draw the first suggestions once more.
        continue_study(sweeper, trials - done, first_job=max(numbers, default=-1) + 1, reseed=done > 0)
        try:
            results = sweep(arguments)
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
    import optuna
    from sqlalchemy.exc import DatabaseError

    if not path.exists():
        return 0
    storage = f"sqlite:///{path}"
    try:
        studies = [optuna.load_study(found.study_name, storage) for found in optuna.get_all_study_summaries(storage)]
    except DatabaseError as error:
        raise UserError(
            f"{path} is no study of optuna's ({error.orig}). Restore it, or start another sweep."
        ) from error
    return sum(trial.state.is_finished() for study in studies for trial in study.get_trials(deepcopy=False))


def _numbers(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())
