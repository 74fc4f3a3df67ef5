"""The files of a stacked job that has ended, written by other processes while the stack trains on."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from safe_exp.config import TrainConfig, plain_config
from safe_exp.network.variants import variants
from safe_exp.runs.log_file import log_file
from safe_exp.scoring.scores import ScoredSplit
from safe_exp.sweep.compat import list_packages_once, speed_up_yaml
from safe_exp.sweep.stacked.job import StackedJob
from safe_exp.system.files import whole_file
from safe_exp.system.workers import end_with_parent


@dataclass(frozen=True)
class ScoredArrays:
    """A scored split as NumPy arrays, for another process; each tensor would be sent through a shared memory file."""

    arrays: tuple[np.ndarray | None, ...]  # columns of ScoredSplit, in its order
    ids: dict[int, str]  # of the articles, by `rows`

    @classmethod
    def from_split(cls, scored: ScoredSplit, ids: Sequence[str]) -> ScoredArrays:
        """Convert a scored split of N articles, with the ids of all articles of the data set."""
        arrays = tuple(None if column is None else column.numpy() for column in scored)
        return cls(arrays, {row: ids[row] for row in scored.rows.tolist()})

    def to_split(self) -> ScoredSplit:
        """Convert back to tensors, which share the arrays' memory."""
        return ScoredSplit(*(None if array is None else torch.from_numpy(array) for array in self.arrays))


@dataclass(frozen=True)
class Ending:
    """Everything that the files of an ended job are written from; it can be pickled."""

    folder: Path
    name: str  # of the job, for W&B
    sweep: str | None  # name of the sweep, for W&B
    config: TrainConfig
    hyper_parameters: dict[str, Any]
    rows: list[tuple[dict[str, float], int]]  # logged values and their step
    history: list[dict[str, float]]
    checkpoints: dict[Path, bytes]  # content of each file
    scored: dict[str, ScoredArrays] | None = None  # val and test; None for a job that ended without results
    course: dict[str, Any] | None = None  # from `describe_course`; None as `scored`
    kept: tuple[dict[str, np.ndarray], str] | None = None  # a state dict and its name; None: those of the best epoch


def write_ending(ending: Ending) -> None:
    """Write the files of an ended job: checkpoints, results, figures, and the whole log in each of its loggers."""
    from safe_exp.runs.checkpoints import keep_weights
    from safe_exp.runs.loggers import close_loggers, open_loggers
    from safe_exp.scoring.results import logged_figures, score_results
    from safe_exp.training.trainer import quiet_libraries
    from safe_exp.training.writing import draws_figures, show_results, write_results

    quiet_libraries()
    exit_code = 1
    if ending.config.logger.wandb:
        list_packages_once()
    config, rows = ending.config, list(ending.rows)
    for path, content in ending.checkpoints.items():
        with whole_file(path) as draft:
            draft.write_bytes(content)
    if ending.kept is not None:
        weights, name = ending.kept
        tensors = {key: torch.from_numpy(value) for key, value in weights.items()}
        keep_weights(ending.folder / "checkpoints", tensors, name)
    with log_file(ending.folder):
        if ending.scored is not None:
            scored = {split: arrays.to_split() for split, arrays in ending.scored.items()}
            ids = {row: article for arrays in ending.scored.values() for row, article in arrays.ids.items()}
            combines = variants[config.model.variant].combines
            results = score_results(scored, ids, config.model.loss_settings, combines, config.threshold)
            values, step = rows[-1]  # of the best checkpoint on validation
            logged = logged_figures("test", results.metrics["test"], scored["test"])
            rows.append(({**logged, "epoch": values["epoch"]}, step))
        loggers = open_loggers(config.logger, ending.folder, ending.name, ending.sweep, plain_config(config))
        try:
            for logger in loggers:
                logger.log_hyperparams(ending.hyper_parameters)
                logger.log_rows(rows)
                logger.save()
            if ending.scored is not None:
                draws = draws_figures(config, ending.sweep)
                metrics = write_results(ending.folder, results, ending.course, ending.history, loggers, draws)
                show_results(ending.folder, metrics, config.threshold, table=False)
                exit_code = 0
        finally:
            close_loggers(loggers, exit_code)


class Writers:
    """Worker processes that write the files of ended jobs.

    On Linux they are forked, which saves the seconds of importing everything again.

    Args:
        processes: number of workers.
    """

    def __init__(self, processes: int) -> None:
        method = "fork" if sys.platform == "linux" else "spawn"
        self.executor = ProcessPoolExecutor(processes, multiprocessing.get_context(method), initializer=_begin_worker)
        self.executor.submit(_warm_up)  # starts the workers, and imports early what they need
        self.waiting: dict[Future, tuple[StackedJob, float | BaseException]] = {}

    def write(self, job: StackedJob, ending: Ending, outcome: float | BaseException) -> None:
        """Start to write a job's files.

        Args:
            job: closed by `close_written`.
            ending: of the job.
            outcome: its score, or the error that ended it.
        """
        self.waiting[self.executor.submit(write_ending, ending)] = (job, outcome)

    def close_written(self, timeout: float = 0) -> list[StackedJob]:
        """Close the jobs whose files have been written, and return them.

        Args:
            timeout: seconds to wait for the first of them.
        """
        done, _ = wait(self.waiting, timeout, FIRST_COMPLETED)
        closed = []
        for future in done:
            job, outcome = self.waiting.pop(future)
            if isinstance(outcome, BaseException):
                job.failed(outcome)
            elif (error := future.exception()) is not None:
                job.failed(error)
            else:
                job.finished(outcome)
            closed.append(job)
        return closed

    def give_up(self, error: BaseException) -> None:
        """Close every remaining job as failed, by its own error or else by `error`."""
        for job, outcome in self.waiting.values():
            job.failed(outcome if isinstance(outcome, BaseException) else error)
        self.waiting.clear()

    def shutdown(self) -> None:
        """Wait for the workers and end them."""
        self.executor.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    """Set up a worker: the parent handles Ctrl-C and SIGTERM, and the worker ends when the parent has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for handler in logging.getLogger().handlers:
        handler.setLevel(max(handler.level, logging.WARNING))  # other lines are in the job's log file

    end_with_parent()
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)  # NumPy's threads would wait for each other in a busy loop
    speed_up_yaml()


def _warm_up() -> None:
    """Import what `write_ending` needs."""
    import safe_exp.training.run  # noqa: F401
