"""Sweeps by optuna, which suggests each job from the scores of the jobs before it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import ListConfig, OmegaConf

from safe_exp.runs.job_outcome import MULTIRUN, job_folders, read_job
from safe_exp.runs.sigterm import sigterm_as_exit
from safe_exp.sweep.compat import continue_study, stored_in, watch_study
from safe_exp.sweep.run import lock_sweep, report_command, resume_command, write_settings
from safe_exp.sweep.study_trials import StudyTrials, Withdrawn
from safe_exp.sweep.table import print_jobs
from safe_exp.system.errors import UserError, first_line
from safe_exp.system.files import short_path

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

STUDY_FILE = "study.db"  # in the sweep's folder; as in conf/sweep/optuna.yaml
TRIES = 5  # to open a storage; two machines that make its tables at the same moment disturb each other


def run_study(sweeper: Any, sweep: Callable[[list[str]], Any], arguments: list[str]) -> Any:
    """Run the trials that are missing to the study's `n_trials`, which count those of all machines that share it.

    Trials of an earlier start count whether their jobs finished or failed. An interrupted job is not resumed: its trial
    has no score, and another suggestion is drawn instead.

    Args:
        sweeper: hydra_plugins.safe_exp_study.StudySweeper, set up.
        sweep: hydra-optuna-sweeper's own `sweep`, which runs `n_trials` trials.
        arguments: the overrides of the command line.
    Returns:
        The result of `sweep`.
    Raises:
        UserError: another process runs this sweep, conf/ has changed since its start, or the study's storage is damaged
            or cannot be reached.
    """
    folder, settings = Path(sweeper.config.hydra.sweep.dir), sweeper.config.hydra.sweeper
    folder.mkdir(parents=True, exist_ok=True)
    with lock_sweep(folder), sigterm_as_exit():
        write_settings(folder / MULTIRUN, OmegaConf.to_yaml(sweeper.config))
        try:
            if stored_in(sweeper) is None or settings.study_name is None:  # a study of this process alone
                continue_study(sweeper, settings.n_trials, first_job=_next_job(folder), reseed=False)
                return sweep(arguments)
            return _run_stored_study(sweeper, sweep, arguments, folder)
        except BaseException as error:
            if not isinstance(error, UserError):
                log.warning("To go on: %s", resume_command(folder))
            raise
        finally:
            print_jobs([read_job(path, number, []) for number, path in job_folders(folder).items()])


def _run_stored_study(sweeper: Any, sweep: Callable[[list[str]], Any], arguments: list[str], folder: Path) -> Any:
    settings, storage = sweeper.config.hydra.sweeper, stored_in(sweeper)
    shared = not _is_in(folder, storage)
    study = open_study(storage, settings.study_name, settings.direction)
    trials = StudyTrials(study, folder, settings.n_trials, shared)
    watch_study(sweeper, trials.note, trials.guard)
    _tell_progress(trials)
    results, complete = None, False
    while not complete and (left := trials.left()):
        # New jobs get new folders. The sampler is seeded anew: its own seed would draw the first suggestions again, and
        # the same ones on each machine.
        continue_study(sweeper, left, first_job=_next_job(folder), reseed=shared or trials.any())
        try:
            results, complete = sweep(arguments), True
        except Withdrawn:
            log.debug("Other machines have begun the rest of the trials.")
    if not complete and trials.has_best():  # the sweeper writes its results after its last trial
        continue_study(sweeper, 0, first_job=_next_job(folder), reseed=False)
        results = sweep(arguments)
    log.info("The best trial is in %s. For tables and figures: %s",
             short_path(folder / "optimization_results.yaml"), report_command(folder))  # fmt: skip
    return results


def _tell_progress(trials: StudyTrials) -> None:
    ended, left = trials.ended(), trials.left()
    elsewhere = trials.n_trials - ended - left
    if ended >= trials.n_trials:
        log.info("All %d trials have been run.", ended)
    elif ended or elsewhere > 0:
        others = f", {elsewhere} are run by other machines" if elsewhere > 0 else ""
        log.info("%d trials have been run%s, %d are left.", ended, others, left)


def open_study(storage: Any, name: str, direction: Any = "minimize") -> optuna.Study:
    """Open a study, or make it in its storage.

    Args:
        storage: address for SQLAlchemy, or a storage of optuna's.
        name: of the study.
        direction: minimize or maximize, or a list of them.
    Raises:
        UserError: the storage is damaged, cannot be reached, or needs a driver that is not installed.
    """
    import optuna
    from optuna.exceptions import DuplicatedStudyError, StorageInternalError
    from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, OperationalError

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the sweeper says the same in its own log
    for tries_left in reversed(range(TRIES)):
        try:
            return optuna.create_study(
                study_name=name, storage=storage, load_if_exists=True, directions=_directions(direction)
            )  # fmt: skip
        except (OperationalError, IntegrityError, StorageInternalError, DuplicatedStudyError) as error:
            if not tries_left:
                reason = getattr(error, "orig", None) or first_line(error)
                raise UserError(f"{_shown(storage)}: this storage cannot be opened ({reason}).") from error
            time.sleep(0.5)
        except DatabaseError as error:
            raise UserError(
                f"{_shown(storage)} is not a study of optuna ({error.orig}). Restore it, or start another sweep."
            ) from error
        except (ArgumentError, ImportError) as error:
            raise UserError(
                f"hydra.sweeper.storage={_shown(storage)}: this storage cannot be used ({first_line(error)}). Expected "
                "an address of SQLAlchemy, such as sqlite:////home/me/study.db or mysql+pymysql://me@host/studies."
            ) from error
    raise AssertionError


def _directions(direction: Any) -> list[str]:
    """Return minimize or maximize for each score, from what hydra-optuna-sweeper accepts as `direction`."""
    given: Iterable[Any] = direction if isinstance(direction, (list, ListConfig)) else [direction]
    return [getattr(each, "name", str(each)) for each in given]


def _is_in(folder: Path, storage: Any) -> bool:
    """Tell whether a storage is the file in the sweep's own folder, which no other sweep uses."""
    if not isinstance(storage, str) or not storage.startswith("sqlite:///"):
        return False
    return Path(storage.removeprefix("sqlite:///")).resolve() == (folder / STUDY_FILE).resolve()


def _shown(storage: Any) -> str:
    """Return a storage's address without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(storage).render_as_string(hide_password=True)
    except ArgumentError:
        return str(storage)


def _next_job(folder: Path) -> int:
    """Return the number of the next job, after those that are in the sweep's folder."""
    return max(job_folders(folder), default=-1) + 1
