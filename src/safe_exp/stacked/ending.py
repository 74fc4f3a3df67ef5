"""The files of a stacked job that has ended, written by further processes while the others are trained."""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safe_exp.config import TrainConfig, plain_config
from safe_exp.job import log_file
from safe_exp.results import Predictions
from safe_exp.stacked.job import StackedJob

PARENT_SECONDS = 1.0  # between two looks whether the process that trains is still there


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
    metrics: dict[str, Any] | None = None  # None: it failed or was interrupted, and has no results
    predictions: list[Predictions] = field(default_factory=list)


def write_ending(ending: Ending) -> None:
    """Fill the job's loggers from first to last, draw its figures, write its results."""
    from pytorch_lightning.loggers import CSVLogger

    from safe_exp.tracking import close_loggers, open_loggers
    from safe_exp.training import quiet_libraries, write_run

    quiet_libraries()
    exit_code = 1
    config = ending.config
    with log_file(ending.folder), contextlib.redirect_stdout(io.StringIO()):  # the table of results: one line instead
        loggers = open_loggers(config.logger, ending.folder, ending.name, ending.sweep, plain_config(config))
        try:
            for logger in loggers:
                if isinstance(logger, CSVLogger):
                    logger.log_hyperparams(ending.hyper_parameters)
                for values, step in ending.rows:
                    logger.log_metrics(values, step)
                logger.save()
            if ending.metrics is not None:
                best = ending.metrics["best_epoch"]
                best_epoch = None if best is None else best - 1
                write_run(ending.folder, ending.metrics, ending.predictions, ending.history, best_epoch, loggers)
                exit_code = 0
        finally:
            close_loggers(loggers, exit_code)


class Writers:
    """`processes` workers, forked where that is safe: a fresh one would import for seconds what is loaded here."""

    def __init__(self, processes: int) -> None:
        method = "fork" if sys.platform == "linux" else "spawn"
        self.executor = ProcessPoolExecutor(
            processes, multiprocessing.get_context(method), initializer=_begin, initargs=(os.getpid(),)
        )
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


def _begin(parent: int) -> None:
    """Ctrl-C and SIGTERM are the parent's to answer; a worker ends with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for handler in logging.getLogger().handlers:
        handler.setLevel(max(handler.level, logging.WARNING))  # the job's file has the rest

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    import torch

    torch.set_num_threads(1)


def _warm_up() -> None:
    import safe_exp.training  # noqa: F401
