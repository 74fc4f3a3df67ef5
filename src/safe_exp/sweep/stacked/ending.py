"""The files of a stacked job that has ended, written by further processes while the others are trained."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safe_exp.config import TrainConfig, plain_config
from safe_exp.network.variants import variants
from safe_exp.runs.job import log_file
from safe_exp.sweep.stacked.job import StackedJob

PARENT_SECONDS = 1.0  # between two looks whether the process that trains is still there


@dataclass(frozen=True)
class Scored:
    """A scored split as plain arrays: tensors would be handed on through shared memory, each in a file of its own."""

    columns: dict[str, np.ndarray | None]  # as `SplitScores.columns` has them
    ids: dict[int, str]  # of its articles, by `index`

    @classmethod
    def of(cls, columns: Mapping[str, Tensor | None], ids: Sequence[str]) -> Scored:
        arrays = {name: None if value is None else value.numpy() for name, value in columns.items()}
        return cls(arrays, {row: ids[row] for row in arrays["index"].tolist()})

    def tensors(self) -> dict[str, Tensor | None]:
        return {name: None if value is None else torch.from_numpy(value) for name, value in self.columns.items()}


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
    scored: dict[str, Scored] | None = None  # val and test; None: it failed or was interrupted, and has no results
    course: dict[str, Any] | None = None  # what `course_of` gave


def write_ending(ending: Ending) -> None:
    """Compute a job's results, fill its loggers from first to last, draw its figures."""
    from pytorch_lightning.loggers import CSVLogger

    from safe_exp.runs.loggers import close_loggers, open_loggers
    from safe_exp.training.module import logged_figures
    from safe_exp.training.run import judge, quiet_libraries, results_of, tell_results, write_run

    quiet_libraries()
    exit_code = 1
    if ending.config.logger.wandb:
        _list_packages_once()
    config, rows = ending.config, list(ending.rows)
    with log_file(ending.folder):
        if ending.scored is not None:
            columns = {split: scored.tensors() for split, scored in ending.scored.items()}
            ids = {row: article for scored in ending.scored.values() for row, article in scored.ids.items()}
            judged_by = judge(columns["val"], variants[config.model.variant].combines, config.threshold)
            metrics, predictions = results_of(columns, ids, config.model.loss_settings, judged_by)
            values, step = rows[-1]  # of the best checkpoint on validation
            logged = logged_figures("test", metrics["test"], columns["test"])
            rows.append(({**logged, "epoch": values["epoch"]}, step))
        loggers = open_loggers(config.logger, ending.folder, ending.name, ending.sweep, plain_config(config))
        try:
            for logger in loggers:
                if isinstance(logger, CSVLogger):
                    logger.log_hyperparams(ending.hyper_parameters)
                for values, step in rows:
                    logger.log_metrics(values, step)
                logger.save()
            if ending.scored is not None:
                best = ending.course["best_epoch"]
                best_epoch = None if best is None else best - 1
                metrics |= ending.course
                write_run(ending.folder, metrics, predictions, ending.history, best_epoch, loggers, judged_by)
                tell_results(ending.folder, metrics, config.threshold, table=False)
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
    import safe_exp.training.run  # noqa: F401


def _list_packages_once() -> None:
    """W&B notes all installed packages in every run. Reading them takes a sixth of a second, and they stay the same."""
    from wandb import util

    if not hasattr(util.working_set, "cache_info"):
        util.working_set = cache(lambda read=util.working_set: list(read()))
