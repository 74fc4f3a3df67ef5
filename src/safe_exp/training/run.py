"""One training job from config to results: prepare, fit, score, write."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from safe_exp.config import TrainConfig, plain_config
from safe_exp.data.artifacts import share_artifacts
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.network.variants import variants
from safe_exp.runs.checkpoints import read_checkpoint
from safe_exp.runs.devices import devices_of_its_own
from safe_exp.runs.loggers import close_loggers, open_loggers
from safe_exp.runs.names import job_name, sweep_name
from safe_exp.runs.processes import is_first_process
from safe_exp.scoring.results import Results, logged_figures, score_results
from safe_exp.system.files import short_path
from safe_exp.training.checks import check_config
from safe_exp.training.module import SafeModule
from safe_exp.training.results import describe_course, epoch_history, tell_results, write_results
from safe_exp.training.threads import set_threads
from safe_exp.training.trainer import build_trainer, lightning_refusals, quiet_libraries

log = logging.getLogger(__name__)


class PreparedJob(NamedTuple):
    """The parts of a job that is about to be trained."""

    config: TrainConfig
    folder: Path
    data: FakeNewsNetDataModule
    module: SafeModule
    loggers: list[Logger]
    trainer: pl.Trainer
    start: float  # of the job, by `time.perf_counter`


class ScoredJob(NamedTuple):
    """The scores of a job's best checkpoint."""

    best_epoch: int | None  # counted from 0; None: no checkpoint was picked, as after a fast_dev_run
    results: Results
    validated: dict[str, float]  # figures of validation at a threshold of 0.5, by their logged names


def train(config: TrainConfig, folder: Path) -> float:
    """Run one training job; continue from its last checkpoint if its folder has one.

    Args:
        folder: of the run; afterwards it holds what the README lists.
    Returns:
        The validation figure that a sweep compares (`callbacks.monitor`).
    Raises:
        UserError: settings, data or an earlier checkpoint cannot be used, or the loss diverged.
        KeyboardInterrupt: the training was interrupted; its last epoch's checkpoint is there.
    """
    with ExitStack() as resources:
        job = prepare(config, folder, resources)
        fit(job)
        scored = score(job)
        write(job, scored)
    return scored.validated[config.callbacks.monitor]


def prepare(config: TrainConfig, folder: Path, resources: ExitStack) -> PreparedJob:
    """Read the data, build the module, and open the loggers, the devices and the Trainer.

    Args:
        resources: closes loggers and devices when the job has ended, however it ended.
    """
    start = time.perf_counter()
    check_config(config)
    quiet_libraries()
    reads = variants[config.model.variant].reads
    data = FakeNewsNetDataModule(
        config.data, config.captioner, config.vectors, config.seed, folder / "artifacts", reads
    )
    data.setup("fit")
    set_threads(config, data.text_vectors.shape[1])
    if is_first_process():
        data.save_artifacts(folder / "artifacts")
        if sweep_name(folder):
            share_artifacts(folder / "artifacts", sorted(folder.parent.glob("*/artifacts")))
    pl.seed_everything(config.seed, workers=True, verbose=False)
    module = SafeModule(config, data.text_vectors, data.visual_vectors)
    if is_first_process():
        print_start(config, data, module, folder, resumed=last_checkpoint(folder) is not None)
    loggers = resources.enter_context(opened_loggers(config, folder))
    devices = resources.enter_context(devices_of_its_own(config.trainer))
    trainer = build_trainer(config, folder, loggers, devices)
    return PreparedJob(config, folder, data, module, loggers, trainer, start)


def fit(job: PreparedJob) -> None:
    """Train until the job's limits, or until it stands still.

    Raises:
        KeyboardInterrupt: Ctrl-C, which Lightning answers by ending the training in order.
    """
    with lightning_refusals():
        job.trainer.fit(job.module, job.data, ckpt_path=last_checkpoint(job.folder))
    if job.trainer.interrupted:
        raise KeyboardInterrupt


def score(job: PreparedJob) -> ScoredJob:
    """Score validation and test articles with the checkpoint that validation picked."""
    trainer, module = job.trainer, job.module
    best_epoch = None
    best = trainer.checkpoint_callback.best_model_path if trainer.checkpoint_callback else ""
    if best:
        checkpoint = read_checkpoint(best, module.device)
        module.load_state_dict(checkpoint["state_dict"])
        best_epoch = checkpoint["epoch"]
    trainer.validate(module, datamodule=job.data, verbose=False)
    validated = module.logged
    trainer.test(module, datamodule=job.data, verbose=False)
    combines, threshold = module.variant.combines, job.config.threshold
    results = score_results(module.scored, job.data.ids, module.loss_settings, combines, threshold)
    module.report(logged_figures("test", results.metrics["test"], module.scored["test"]))
    return ScoredJob(best_epoch, results, validated)


def write(job: PreparedJob, scored: ScoredJob) -> None:
    """Write the results into the run folder, and tell them; the first process does."""
    course = describe_course(job.trainer, job.data, scored.best_epoch, job.start)
    if job.trainer.is_global_zero:
        metrics = write_results(job.folder, scored.results, course, epoch_history(job.trainer), job.loggers)
        tell_results(job.folder, metrics, job.config.threshold)


@contextmanager
def opened_loggers(config: TrainConfig, folder: Path) -> Iterator[list[Logger]]:
    """Open the job's loggers, and close them with the exit status of what runs within the block."""
    loggers = open_loggers(config.logger, folder, job_name(folder), sweep_name(folder), plain_config(config))
    exit_code = 1
    try:
        yield loggers
        exit_code = 0
    finally:
        close_loggers(loggers, exit_code)


def last_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the last epoch, from which a stopped run goes on; None in a new run."""
    path = folder / "checkpoints" / "last.ckpt"
    return path if path.exists() else None


def print_start(
    config: TrainConfig, data: FakeNewsNetDataModule, module: SafeModule, folder: Path, resumed: bool
) -> None:
    """Tell in a dozen lines what is about to happen: data, model, update, run folder."""
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
        ("update", f"{update}; {config.optimizer._target_.rpartition('.')[2]}, γ = {model.gamma:g}"),
        ("run folder", f"{short_path(folder)}{' (resumed from its last checkpoint)' if resumed else ''}"),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        log.info("%s  %s", name.ljust(width), value)
    if data.leakage is not None:
        log.warning("%s", data.leakage)
