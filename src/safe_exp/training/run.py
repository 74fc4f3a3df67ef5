"""One training job from config to results: prepare, fit, score, write."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytorch_lightning as pl

from safe_exp.config import TrainConfig, plain_config
from safe_exp.data.artifacts import earlier_artifacts, share_artifacts
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.network.variants import variants
from safe_exp.runs.checkpoints import REFIT
from safe_exp.runs.devices import devices_of_its_own
from safe_exp.runs.loggers import check_loggers, close_loggers, open_loggers
from safe_exp.runs.names import job_name, sweep_name
from safe_exp.runs.processes import is_first_process
from safe_exp.system.files import short_path
from safe_exp.system.memory import KEPT_BY_A_RUN, keep_freed_memory
from safe_exp.training.determinism import deterministic_algorithms
from safe_exp.training.extra_callbacks import build_extra_callbacks
from safe_exp.training.job import PreparedJob, ScoredJob
from safe_exp.training.keeping import refit_by_folds, score
from safe_exp.training.machines import waiting_for_machines
from safe_exp.training.module import SafeModule
from safe_exp.training.threads import set_threads
from safe_exp.training.trainer import build_trainer, lightning_refusals, quiet_libraries, require_some_batches
from safe_exp.training.writing import describe_course, draws_figures, epoch_history, show_results, write_results

if TYPE_CHECKING:
    from safe_exp.runs.loggers import OpenLogger

log = logging.getLogger(__name__)


def train(config: TrainConfig, folder: Path) -> float:
    """Run one training job, from its last checkpoint if its folder has one.

    Args:
        config: of the job, as `check_config` lets it pass.
        folder: of the run, into which all files are written.
    Returns:
        The validation figure that a sweep compares (`callbacks.monitor`).
    Raises:
        UserError: settings, data or an earlier checkpoint cannot be used, or the loss diverged.
        KeyboardInterrupt: Ctrl-C during the training; the checkpoint of the last whole epoch is in the folder.
    """
    with ExitStack() as resources:
        job = prepare(config, folder, resources)
        if config.refit_from is None:
            fit(job)
            scored = score(job)
        else:
            job, scored = refit_by_folds(job)
        write(job, scored)
    return scored.validated[config.callbacks.monitor]


def prepare(config: TrainConfig, folder: Path, resources: ExitStack) -> PreparedJob:
    """Read the data, build the module, open the loggers, lease the devices and build the Trainer.

    Args:
        config: of the job.
        folder: of the run.
        resources: receives the loggers and devices, and closes them when the caller leaves it.
    Raises:
        UserError: settings or data cannot be used.
    """
    start = time.perf_counter()
    quiet_libraries()
    check_loggers(config.logger)
    extra = build_extra_callbacks(config.callbacks.extra, folder)
    reads = variants[config.model.variant].reads
    data = FakeNewsNetDataModule(
        config.data, config.captioner, config.vectors, config.seed, folder / "artifacts", reads,
        config.model.article_weights,
    )  # fmt: skip
    data.setup("fit")
    require_some_batches(config.trainer, data)
    set_threads(config, data.vector_dim)
    keep_freed_memory(KEPT_BY_A_RUN)
    resources.enter_context(deterministic_algorithms(config.trainer.deterministic, config.compile))
    if is_first_process():
        data.save_artifacts(folder / "artifacts")
        if sweep_name(folder):
            share_artifacts(folder / "artifacts", earlier_artifacts(folder))
    pl.seed_everything(config.seed, workers=True, verbose=False)
    module = SafeModule(config, data.text_vectors, data.visual_vectors)
    if is_first_process():
        log_start(config, data, module, folder, resumed=_last_checkpoint(folder) is not None)
    loggers = resources.enter_context(_opened_loggers(config, folder))
    devices = resources.enter_context(devices_of_its_own(config.trainer))
    trainer = build_trainer(config, folder, loggers, devices, extra)
    return PreparedJob(config, folder, data, module, loggers, trainer, devices, start)


def fit(job: PreparedJob) -> None:
    """Train until a limit is reached or a callback ends the training.

    Raises:
        UserError: Lightning refuses a setting, the last checkpoint belongs to another model, or the loss diverged.
        KeyboardInterrupt: Ctrl-C, on which Lightning ends the training without an error.
    """
    with lightning_refusals(), waiting_for_machines(job.trainer, job.folder):
        job.trainer.fit(job.module, job.data, ckpt_path=_last_checkpoint(job.folder))
    if job.trainer.interrupted:
        raise KeyboardInterrupt


def write(job: PreparedJob, scored: ScoredJob) -> None:
    """Write the results into the run folder and show them, in the first process alone."""
    course = describe_course(job.trainer, job.data, scored.best_epoch, job.start) | scored.kept
    if job.trainer.is_global_zero:
        draws = draws_figures(job.config, sweep_name(job.folder))
        metrics = write_results(job.folder, scored.results, course, epoch_history(job.trainer), job.loggers, draws)
        show_results(job.folder, metrics, job.config.threshold)
        (job.folder / "checkpoints" / REFIT).unlink(missing_ok=True)  # only a killed refit needs it


@contextmanager
def _opened_loggers(config: TrainConfig, folder: Path) -> Iterator[list[OpenLogger]]:
    """Open the job's loggers for a block, and close them with the exit status of the block: 1 after an exception."""
    loggers = open_loggers(config.logger, folder, job_name(folder), sweep_name(folder), plain_config(config))
    exit_code = 1
    try:
        yield loggers
        exit_code = 0
    finally:
        close_loggers(loggers, exit_code)


def _last_checkpoint(folder: Path) -> Path | None:
    """Find the checkpoint of the last epoch, from which a run is resumed; None in a new run."""
    path = folder / "checkpoints" / "last.ckpt"
    return path if path.exists() else None


def log_start(
    config: TrainConfig, data: FakeNewsNetDataModule, module: SafeModule, folder: Path, resumed: bool
) -> None:
    """Log the data, model, loss, update and folder of a run, and a warning if the split leaks, or
    if the vocabulary lacks many words.

    Args:
        resumed: from its last checkpoint.
    """
    model = config.model
    update = {
        "closed_form": "closed form, Eqs. (12)-(18)",
        "algorithm1": f"Algorithm 1, {model.order.value}",
        "autograd": "autograd",
    }[model.update.value]
    rows = [
        *data.summary(),
        (
            "model",
            f"{model.variant}, H = {list(model.filter_sizes)}, K = {model.num_filters}, D = {model.feature_dim}, "
            f"{sum(p.numel() for p in module.network.parameters()):,} parameters",
        ),
        ("loss", f"{model.alpha:g} L_p + {model.beta:g} L_s ({model.similarity_loss.value})"),
        *([("regularised", regularisers)] if (regularisers := model.describe_regularisers()) else []),
        ("update", f"{update}; {config.optimizer._target_.rpartition('.')[2]}, γ = {model.gamma:g}"),
        ("run folder", f"{short_path(folder)}{' (resumed from its last checkpoint)' if resumed else ''}"),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        log.info("%s  %s", name.ljust(width), value)
    if data.leakage is not None:
        log.warning("%s", data.leakage)
    if data.unknown_words is not None:
        log.warning("%s", data.unknown_words)
