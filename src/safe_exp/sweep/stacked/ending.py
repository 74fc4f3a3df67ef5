"""The files of a stacked job that has ended, written by further processes while the others are trained."""

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
from safe_exp.sweep.compat import list_packages_once
from safe_exp.sweep.stacked.job import StackedJob
from safe_exp.system.processes import end_with_parent


@dataclass(frozen=True)
class ScoredArrays:
    """A scored split as plain arrays: tensors would be handed on through shared memory, each in a file of its own."""

    arrays: tuple[np.ndarray | None, ...]  # in the order of ScoredSplit
    ids: dict[int, str]  # of its articles, by `index`

    @classmethod
    def copy_of(cls, scored: ScoredSplit, ids: Sequence[str]) -> ScoredArrays:
        arrays = tuple(None if column is None else column.numpy() for column in scored)
        return cls(arrays, {row: ids[row] for row in scored.index.tolist()})

    def tensors(self) -> ScoredSplit:
        return ScoredSplit(*(None if array is None else torch.from_numpy(array) for array in self.arrays))


@dataclass(frozen=True)
class Ending:
    """All that a job leaves but its checkpoints: plain values, fit for another process."""

    folder: Path
    name: str  # of the job, for W&B
    sweep: str | None
    config: TrainConfig
    hyper_parameters: dict[str, Any]
    rows: list[tuple[dict[str, float], int]]  # logged values, each with its step
    history: list[dict[str, float]]
    scored: dict[str, ScoredArrays] | None = None  # val and test; None: it has no results
    course: dict[str, Any] | None = None  # of `describe_course`


def write_ending(ending: Ending) -> None:
    """Compute a job's results, fill its loggers from first to last, draw its figures."""
    from safe_exp.runs.loggers import close_loggers, open_loggers
    from safe_exp.scoring.results import logged_figures, score_results
    from safe_exp.training.results import tell_results, write_results
    from safe_exp.training.trainer import quiet_libraries

    quiet_libraries()
    exit_code = 1
    if ending.config.logger.wandb:
        list_packages_once()
    config, rows = ending.config, list(ending.rows)
    with log_file(ending.folder):
        if ending.scored is not None:
            scored = {split: arrays.tensors() for split, arrays in ending.scored.items()}
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
                for values, step in rows:
                    logger.log_metrics(values, step)
                logger.save()
            if ending.scored is not None:
                metrics = write_results(ending.folder, results, ending.course, ending.history, loggers)
                tell_results(ending.folder, metrics, config.threshold, table=False)
                exit_code = 0
        finally:
            close_loggers(loggers, exit_code)


class Writers:
    """`processes` workers, forked where that is safe: a fresh one would import for seconds what is loaded here."""

    def __init__(self, processes: int) -> None:
        method = "fork" if sys.platform == "linux" else "spawn"
        self.executor = ProcessPoolExecutor(processes, multiprocessing.get_context(method), initializer=_begin)
        self.executor.submit(_warm_up)  # all of them start with the first call; this one's imports are made early
        self.waiting: dict[Future, tuple[StackedJob, float | BaseException]] = {}

    def write(self, job: StackedJob, ending: Ending, outcome: float | BaseException) -> None:
        """Write a job's files, and then close it with its score, or with the error that ended it."""
        self.waiting[self.executor.submit(write_ending, ending)] = (job, outcome)

    def close_what_is_written(self, timeout: float = 0) -> list[StackedJob]:
        """Close the jobs whose files are there; waits up to `timeout` seconds for the first of them."""
        done, _ = wait(self.waiting, timeout, FIRST_COMPLETED)
        closed = []
        for future in done:
            job, outcome = self.waiting.pop(future)
            error = future.exception() or (outcome if isinstance(outcome, BaseException) else None)
            if error is None:
                job.finished(outcome)
            else:
                job.failed(outcome if isinstance(outcome, BaseException) else error)
            closed.append(job)
        return closed

    def give_up(self, error: BaseException) -> None:
        """Close every job that is left, its files written or not."""
        for job, outcome in self.waiting.values():
            job.failed(outcome if isinstance(outcome, BaseException) else error)
        self.waiting.clear()

    def shutdown(self) -> None:
        self.executor.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """Ctrl-C and SIGTERM are the parent's to answer; a worker ends with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for handler in logging.getLogger().handlers:
        handler.setLevel(max(handler.level, logging.WARNING))  # the job's file has the rest

    end_with_parent()
    import torch

    torch.set_num_threads(1)


def _warm_up() -> None:
    import safe_exp.training.run  # noqa: F401
