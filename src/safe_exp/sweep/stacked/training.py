"""The training loop of a stack, from the configs of its jobs to their results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from safe_exp.config import Select, TrainConfig
from safe_exp.data.artifacts import link_artifacts
from safe_exp.data.batch import NewsBatch
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.data.sampler import ArticleOrder, GlobalBatches
from safe_exp.equations.safe import SafeWeights
from safe_exp.network.variants import variants
from safe_exp.runs.devices import devices_of_its_own
from safe_exp.runs.loggers import check_loggers
from safe_exp.runs.stored_run import NETWORK_PREFIX
from safe_exp.scoring.scores import ScoredSplit
from safe_exp.sweep.stacked.ending import Ending, ScoredArrays, Writers
from safe_exp.sweep.stacked.job import FollowedRun, LoopProgress, StackedJob
from safe_exp.sweep.stacked.model import StackedModel
from safe_exp.sweep.stacked.progress import StackProgress
from safe_exp.sweep.stacked.scores import ScoredRuns
from safe_exp.sweep.stacked.shares import rows_to_keep
from safe_exp.system.errors import UserError
from safe_exp.system.memory import KEPT_BY_A_STACK, keep_freed_memory
from safe_exp.training.determinism import deterministic_algorithms
from safe_exp.training.epoch_sums import EpochSums, EpochTotals, require_finite
from safe_exp.training.module import SafeModule
from safe_exp.training.run import log_start
from safe_exp.training.selection import count_publishers, describe_choice
from safe_exp.training.threads import set_threads
from safe_exp.training.trainer import quiet_libraries
from safe_exp.training.writing import describe_course

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 30.0  # at least, between two times at which all checkpoints are written
CHECKPOINT_SHARE = 0.05  # at most, of the time that is spent on writing checkpoints


def train_stack(jobs: Sequence[StackedJob], writers: Writers, progress: StackProgress) -> None:
    """Train the jobs of one stack, and give each to the writers when it has ended.

    An error ends all jobs of the stack, and is logged.

    Args:
        jobs: as `grouping.form_stacks` has put them together, begun.
        writers: write the files of ended jobs, and close them.
        progress: of all stacks.
    Raises:
        BaseException: one that is no Exception, such as KeyboardInterrupt, after the checkpoints have been written.
    """
    config, stack = jobs[0].config, None
    try:
        with (
            deterministic_algorithms(config.trainer.deterministic, compiled=False),
            devices_of_its_own(config.trainer) as devices,
        ):
            stack = Stack(jobs, writers, progress, devices)
            stack.train()
    except BaseException as error:
        for job in jobs if stack is None else [job for job in stack.rows if job is not None]:
            end_early(job, error, writers)
        if not isinstance(error, Exception):
            raise
        log.error("The stack of %d jobs broke off: %s", len(jobs), error)
    finally:
        progress.end()


def end_early(job: StackedJob, error: BaseException, writers: Writers) -> None:
    """Write the checkpoints and log of a job that has not finished, and let the writers close it with `error`."""
    if job.run is None:  # its training has not begun
        job.failed(error)
        return
    job.run.write_checkpoints()
    writers.write(job, _ending(job), error)
    job.run = None


class Stack:
    """The jobs of one stack, with their data and model.

    Args:
        jobs: begun, sorted by seed and γ.
        writers: write the files of ended jobs.
        progress: of all stacks.
        devices: indices of the GPUs that are leased; None: the first one.
    Raises:
        UserError: the data cannot be used.
    """

    def __init__(
        self, jobs: Sequence[StackedJob], writers: Writers, progress: StackProgress, devices: list[int] | None
    ) -> None:
        self.start = time.perf_counter()
        quiet_libraries()
        keep_freed_memory(KEPT_BY_A_STACK)
        check_loggers(jobs[0].config.logger)
        self.rows: list[StackedJob | None] = list(jobs)  # by row of the model; None: the job has ended
        self.writers, self.progress = writers, progress
        config = self.config = jobs[0].config
        self.device = choose_device(config, devices)
        reads, weights = variants[config.model.variant].reads, config.model.article_weights
        self.data = FakeNewsNetDataModule(
            config.data, config.captioner, config.vectors, config.seed, None, reads, weights
        )
        self.data.setup("fit")
        self.articles = self.data.copy_for(self.device)
        set_threads(config, self.data.vector_dim)
        self.data.save_artifacts(jobs[0].folder / "artifacts")
        for job in jobs[1:]:
            link_artifacts(job.folder / "artifacts", jobs[0].folder / "artifacts")
        self.orders = {
            job.config.seed: GlobalBatches(ArticleOrder(self.data.split.train, job.config.seed), config.data.batch_size)
            for job in jobs
        }
        self.splits = {name: self._batches_of(getattr(self.data.split, name)) for name in ("val", "test")}
        self.publishers = count_publishers(self.data)
        modules = {seed: self._module(seed) for seed in self.orders}
        self.batches = len(next(iter(self.orders.values())))
        loops = LoopProgress(self.batches, len(self.data.val_dataloader()))
        self.model = StackedModel([job.config for job in jobs], [modules[job.config.seed] for job in jobs])
        for job in jobs:
            job.run = FollowedRun(job.config, job.folder, self.batches, loops)
            with job.logging_to_its_file():
                log_start(job.config, self.data, modules[job.config.seed], job.folder, resumed=False)
                log.info("Trained in a stack of %d runs.", len(jobs))
        self._written, self._pause = time.perf_counter(), CHECKPOINT_SECONDS

    def train(self) -> None:
        """Train until the last run has ended."""
        most = self.config.trainer.max_epochs
        self.progress.begin(len(self.rows), None if most in (None, -1) else most * self.batches)
        epoch = 0
        while any(self.rows):
            self._epoch(epoch)
            epoch += 1

    def _epoch(self, epoch: int) -> None:
        """Train and validate all runs for one epoch, counted from 0, and end those that it ended."""
        self.model.begin_epoch(epoch)
        for batches in self._draw_batches(epoch):
            self.model.step(batches)
            self.progress.step()
        means = EpochSums(self.model.parts)
        means.compares = variants[self.config.model.variant].compares
        trained = [means.means(EpochTotals.unflatten(row)) for row in self.model.sums.total().cpu()]
        gammas = self.model.gammas()
        if self.model.scheduler is not None:
            self.model.scheduler.step()
        self._end_diverged(epoch, trained)
        running = [row for row, job in enumerate(self.rows) if job is not None]
        snapshot = self.model.snapshot()
        validated = self._score("val", self.model.weights(), running)
        for number, (row, logged) in enumerate(zip(running, self._logged(validated, running), strict=True)):
            figures = trained[row] | {"train/gamma": gammas[row]} | logged
            self.rows[row].run.end_epoch(figures, validated.of_run(number), snapshot, row)
        self._end([row for row in running if self.rows[row].run.ended])
        self.progress.closed(self.writers.close_written())
        self._write_checkpoints_when_due()
        self._drop_ended()

    def _draw_batches(self, epoch: int) -> Iterator[list[NewsBatch]]:
        """Yield the batches of each step, one for each share of the model, in the order of an epoch counted from 0."""
        drawn = []
        for share in self.model.shares:
            orders = []
            for seed in share.seeds:
                self.orders[seed].sampler.set_epoch(epoch)
                orders.append(self.orders[seed].sampler.order())
            rows = np.stack(orders).astype(np.int64)  # (S, n)
            drawn.append((rows, torch.from_numpy(rows).to(self.articles.device)))  # moved once an epoch
        for start, end in next(iter(self.orders.values())).bounds():
            yield [self._select(rows[:, start:end], index[:, start:end]) for rows, index in drawn]

    def _end_diverged(self, epoch: int, trained: list[dict[str, float]]) -> None:
        """End the jobs whose training loss is infinite or NaN."""
        for row, job in enumerate(self.rows):
            try:
                if job is not None:
                    require_finite(trained[row]["train/loss"], epoch, job.config.model.gamma)
            except UserError as error:
                self.rows[row] = None
                end_early(job, error, self.writers)

    def _end(self, rows: list[int]) -> None:
        """Score the weights that the runs that have ended keep, and give their files to the writers."""
        if not rows:
            return
        jobs = [self.rows[row] for row in rows]
        choices = [job.run.choose(job.config.model.loss_settings, self.publishers) for job in jobs]
        kept = [job.run.kept_weights(choice) for job, choice in zip(jobs, choices, strict=True)]
        weights = self.model.restructure(
            {
                name: torch.stack([state[f"{NETWORK_PREFIX}{name}"].to(self.device) for state in kept])
                for name in self.model.parameters
            }
        )
        scored_splits = {split: self._score(split, weights, range(len(rows))) for split in ("val", "test")}
        of_jobs = self._logged(scored_splits["val"], rows)
        for i, (row, job, choice, logged) in enumerate(zip(rows, jobs, choices, of_jobs, strict=True)):
            scored = {split: runs.of_run(i) for split, runs in scored_splits.items()}
            job.run.log(logged, job.run.current_epoch, job.run.global_step)
            best_epoch = job.run.checkpoints["best"]["epoch"]
            course = describe_course(job.run.as_trainer, self.data, best_epoch, self.start)
            course["selection"] = choice.plain()
            score = logged[job.config.callbacks.monitor]
            if line := describe_choice(job.config.callbacks, choice):
                with job.logging_to_its_file():
                    log.info("%s", line)
            ending = _ending(job, self.data.ids, scored, course)
            if choice.rule is not Select.best:
                weights_kept = {name: value.numpy(force=True) for name, value in kept[i].items()}
                ending = replace(ending, kept=(weights_kept, choice.rule.value))
            self.writers.write(job, ending, score)
            self.progress.ended(job, course, score)
            job.run, self.rows[row] = None, None

    def _score(self, split: str, weights: SafeWeights, runs: Sequence[int]) -> ScoredRuns:
        """Score `val` or `test` in `runs` of `weights`, (R, …) each."""
        return self.model.score(weights, self.splits[split], runs)

    def _logged(self, validated: ScoredRuns, rows: Sequence[int]) -> list[dict[str, float]]:
        """Compute the figures of validation of the runs in `rows` by logged name, at a threshold of 0.5."""
        alpha, beta = (value.cpu()[list(rows)] for value in (self.model.alpha, self.model.beta))
        return validated.logged("val", alpha, beta, self.config.model.similarity_loss.value)

    def _write_checkpoints_when_due(self) -> None:
        """Write all checkpoints if the last time is long enough ago.

        A killed job resumes from them and repeats the epochs since, with the same weights as a job that was not killed.
        """
        begin = time.perf_counter()
        if begin - self._written < self._pause:
            return
        for job in self.rows:
            if job is not None:
                job.run.write_checkpoints()
        self._written = time.perf_counter()
        self._pause = max(CHECKPOINT_SECONDS, (self._written - begin) / CHECKPOINT_SHARE)

    def _drop_ended(self) -> None:
        """Drop the rows of ended runs from the model once they are half of all rows; until then they are trained on."""
        kept = rows_to_keep(self.model.seeds, [job is not None for job in self.rows])
        if kept and 2 * len(kept) <= len(self.rows):
            self.model.keep(kept)
            self.rows = [self.rows[row] for row in kept]

    def _module(self, seed: int) -> SafeModule:
        """Build the module of the jobs with this seed: it determines the initial weights."""
        pl.seed_everything(seed, workers=True, verbose=False)
        dtype = torch.float64 if str(self.config.trainer.precision).startswith("64") else torch.float32
        module = SafeModule(self.config, self.data.text_vectors, self.data.visual_vectors)
        return module.to(self.device, dtype)

    def _batches_of(self, rows: np.ndarray) -> Iterable[NewsBatch]:
        """Make the batches of a split. Batches of vectors are read each time: all of them would fill the memory."""
        batches = GlobalBatches(ArticleOrder(rows), self.data.encoded.scored_at_once)
        if self.data.encoded.holds_vectors:
            return _ReadEachTime(self._read, batches)
        return [self._read(rows) for rows in batches]

    def _read(self, rows: list[int]) -> NewsBatch:
        """Select articles by row, (B,), onto the device."""
        index = np.asarray(rows, dtype=np.int64)
        return self._select(index, torch.from_numpy(index).to(self.articles.device))

    def _select(self, rows: np.ndarray, index: Tensor) -> NewsBatch:
        """Select articles by row, (S, B) or (B,), onto the device; `index` is `rows` where the articles lie."""
        batch = self.articles.select(rows.reshape(-1), index.flatten())
        return batch if self.articles.device == self.device else batch.to(self.device)


def choose_device(config: TrainConfig, leased: list[int] | None) -> torch.device:
    """Choose the device of a stack: the CPU if its jobs ask for it, else the leased GPU, without a lease the first."""
    return torch.device("cpu" if config.trainer.accelerator == "cpu" else f"cuda:{(leased or [0])[0]}")


class _ReadEachTime:
    """The batches of a split, read whenever they are iterated over."""

    def __init__(self, read: Callable[[list[int]], NewsBatch], batches: GlobalBatches) -> None:
        self.read, self.batches = read, batches

    def __iter__(self) -> Iterator[NewsBatch]:
        return map(self.read, self.batches)


def _ending(
    job: StackedJob,
    ids: Sequence[str] = (),
    scored: Mapping[str, ScoredSplit] | None = None,
    course: dict[str, Any] | None = None,
) -> Ending:
    """Collect what the files of an ended job are written from; without `scored` and `course` it has no results."""
    run = job.run
    arrays = None
    if scored is not None:
        arrays = {name: ScoredArrays.from_split(split, ids) for name, split in scored.items()}
    return Ending(
        job.folder, job.name, job.sweep, job.config, run.hyper_parameters, run.rows, run.history,
        run.checkpoint_files(), arrays, course,
    )  # fmt: skip
