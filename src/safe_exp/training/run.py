"""One training job from config to results."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from rich.console import Console

from safe_exp.config import TrainConfig, Update, plain_config, trainer_arguments
from safe_exp.config.figure_names import BEST, THRESHOLD
from safe_exp.data.artifacts import share_artifacts
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.network.variants import variants
from safe_exp.runs.checkpoints import read_checkpoint
from safe_exp.runs.devices import devices_of_its_own
from safe_exp.runs.job import job_name, sweep_name
from safe_exp.runs.loggers import close_loggers, log_results, open_loggers
from safe_exp.runs.processes import is_first_process, require_a_task_for_each_process
from safe_exp.scoring.intervals import split_intervals
from safe_exp.scoring.results import Predictions, split_predictions, trust_lines, write_metrics, write_predictions
from safe_exp.scoring.scores import calibrate, split_figures
from safe_exp.scoring.table import print_results
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path
from safe_exp.training.callbacks import EpochHistory, TrainedFurther, WholeCheckpointIO, build_callbacks
from safe_exp.training.checks import check_config
from safe_exp.training.module import SafeModule
from safe_exp.training.progress import progress_callbacks
from safe_exp.training.stopping import ended_within_epoch, stopped_by
from safe_exp.training.threads import set_threads

log = logging.getLogger(__name__)


def train(config: TrainConfig, folder: Path) -> float:
    """Run one training job and return the validation score that a sweep compares (`callbacks.monitor`).

    Leaves in `folder` what DESIGN.md calls a run folder; continues from its last checkpoint if it has one.
    """
    start = time.perf_counter()
    check_config(config)
    quiet_libraries()
    reads = variants[config.model.variant].reads
    datamodule = FakeNewsNetDataModule(
        config.data, config.captioner, config.vectors, config.seed, folder / "artifacts", reads
    )
    datamodule.setup("fit")
    set_threads(config, datamodule.text_vectors.shape[1])
    if is_first_process():
        datamodule.save_artifacts(folder / "artifacts")
        if sweep_name(folder):
            share_artifacts(folder / "artifacts", sorted(folder.parent.glob("*/artifacts")))
    pl.seed_everything(config.seed, workers=True, verbose=False)
    module = build_module(config, datamodule)
    last = folder / "checkpoints" / "last.ckpt"
    if is_first_process():
        print_start(config, datamodule, module, folder, resumed=last.exists())

    loggers = open_loggers(config.logger, folder, job_name(folder), sweep_name(folder), plain_config(config))
    exit_code = 1
    resources = ExitStack()
    try:
        devices = resources.enter_context(devices_of_its_own(config.trainer))
        trainer = build_trainer(config, folder, loggers, devices)
        with lightning_refusals():
            trainer.fit(module, datamodule, ckpt_path=last if last.exists() else None)
        if trainer.interrupted:
            raise KeyboardInterrupt
        best_epoch, metrics, predictions, validated = score_best(trainer, module, datamodule, config.threshold)
        metrics |= course_of(trainer, datamodule, best_epoch, start)
        if trainer.is_global_zero:
            write_run(folder, metrics, predictions, history_of(trainer), best_epoch, loggers, module.judged_by)
            tell_results(folder, metrics, config.threshold)
        exit_code = 0
    finally:
        resources.close()
        close_loggers(loggers, exit_code)
    return validated[config.callbacks.monitor]


def build_module(config: TrainConfig, datamodule: FakeNewsNetDataModule) -> SafeModule:
    return SafeModule(
        config.model,
        config.optimizer,
        datamodule.text_vectors,
        datamodule.visual_vectors,
        scheduler=config.scheduler,
        gradient_clip_val=config.trainer.gradient_clip_val,
        gradient_clip_algorithm=config.trainer.gradient_clip_algorithm,
        monitor=config.callbacks.monitor,
        compiled=config.compile,
    )


def build_trainer(
    config: TrainConfig, folder: Path, loggers: list[Any], devices: list[int] | None = None
) -> pl.Trainer:
    """The Trainer of a job; `devices`, where the config does not decide which ones."""
    arguments = trainer_arguments(config.trainer) | ({} if devices is None else {"devices": devices})
    callbacks = build_callbacks(config.callbacks, folder, config.trainer.max_steps) + progress_callbacks(config.trainer)
    if config.resume is not None:
        callbacks.append(TrainedFurther(folder))  # last, after the callbacks that may refuse to go on
    with lightning_refusals(ValueError, TypeError):
        trainer = pl.Trainer(
            **arguments,
            logger=loggers or False,
            callbacks=callbacks,
            plugins=[WholeCheckpointIO()],
            default_root_dir=folder,
            use_distributed_sampler=False,  # the data module shares every batch out itself
        )
    processes = trainer.num_devices * trainer.num_nodes
    require_a_task_for_each_process(processes)
    if config.model.update is Update.algorithm1 and processes > 1:
        raise UserError(
            f"model.update=algorithm1 goes from article to article, each step at the weights that the last one left, "
            f"so {processes} processes cannot share it. Set trainer.devices=1, or model.update=closed_form."
        )
    return trainer


@contextmanager
def lightning_refusals(*more: type[Exception]) -> Iterator[None]:
    """What Lightning says of settings that it cannot use, as one message."""
    try:
        yield
    except UserError:
        raise
    except (pl.utilities.exceptions.MisconfigurationException, *more) as error:
        raise UserError(f"Lightning refuses trainer.…: {error}") from error


def score_best(
    trainer: pl.Trainer, module: SafeModule, datamodule: FakeNewsNetDataModule, threshold: float | str = THRESHOLD
) -> tuple[int | None, dict[str, Any], list[Predictions], dict[str, float]]:
    """Of the checkpoint that validation picked: its epoch from 0, its figures, every article's scores, and the figures
    of validation by the names they are logged by.

    Those stay at a threshold of 0.5, so that jobs and epochs are compared alike.
    """
    epoch = None
    best = trainer.checkpoint_callback.best_model_path if trainer.checkpoint_callback else ""
    if best:  # there is none after a fast_dev_run
        checkpoint = read_checkpoint(best, module.device)
        module.load_state_dict(checkpoint["state_dict"])
        epoch = checkpoint["epoch"]
    columns, logged = {}, {}
    for split, score in (("val", trainer.validate), ("test", trainer.test)):
        score(module, datamodule=datamodule, verbose=False)
        columns[split] = module.columns
        logged |= module.logged
        if split == "val":
            module.judged_by = judge(module.columns, module.variant.combines, threshold)
    metrics, predictions = results_of(columns, datamodule.ids, module.loss_settings, module.judged_by)
    return epoch, metrics, predictions, logged


def judge(validated: dict[str, Any], combines: bool, threshold: float | str) -> dict[str, Any]:
    """What `split_figures` is told beside a split's columns: what validation taught, and where verdicts are cut."""
    return {"calibration": calibrate(validated, combines), "threshold": threshold}


def results_of(
    columns: dict[str, dict[str, Any]], ids: Any, loss_settings: dict[str, Any], judged_by: dict[str, Any]
) -> tuple[dict[str, Any], list[Predictions]]:
    """The figures of metrics.json, those of test with their intervals, and every article's scores.

    Args:
        columns: of the splits val and test, as `SplitScores.columns` returns them.
        ids: of the articles, by the numbers in `index`.
    """
    metrics = {split: split_figures(found, **loss_settings, **judged_by) for split, found in columns.items()}
    predictions = [
        split_predictions(split, ids, found, metrics[split]["thresholds"]["prediction"])
        for split, found in columns.items()
    ]
    metrics["test"]["intervals"] = split_intervals(columns["test"], **loss_settings, **judged_by)
    return metrics, predictions


def course_of(
    trainer: pl.Trainer, datamodule: FakeNewsNetDataModule, best_epoch: int | None, start: float
) -> dict[str, Any]:
    """What metrics.json says beside the figures: how the training went, and on what.

    Args:
        best_epoch: counted from 0.
        start: of the job, by `time.perf_counter`.
    """
    return {
        "epochs": len(history_of(trainer)),  # with a last one that was cut short
        "best_epoch": None if best_epoch is None else best_epoch + 1,
        "stopped_by": stopped_by(trainer),
        "ended_within_epoch": ended_within_epoch(trainer),
        "seconds": round(time.perf_counter() - start, 3),
        "data": {
            **{name: len(getattr(datamodule.split, name)) for name in ("train", "val", "test")},
            "fingerprint": datamodule.fingerprint,
        },
    }


def write_run(
    folder: Path,
    metrics: dict[str, Any],
    predictions: list[Predictions],
    history: list[dict[str, float]],
    best_epoch: int | None,
    loggers: list[Any],
    judged_by: dict[str, Any],
) -> None:
    from safe_exp.figures.reliability import draw_reliability
    from safe_exp.figures.run_figures import draw_run_figures  # matplotlib; not needed before the end

    test, calibration = predictions[-1], judged_by["calibration"]
    write_predictions(folder / "predictions.csv", predictions)
    figures = draw_run_figures(folder, history, test, best_epoch)
    if calibration is not None:
        calibration.save(folder / "artifacts")
        metrics["calibration"] = calibration.plain()
        figures["reliability"] = draw_reliability(folder / "figures" / "reliability.png", test, calibration)
    elif judged_by["threshold"] == BEST:
        log.warning("threshold=best: the validation articles are of one class, so verdicts are cut at 0.5.")
    log_results(loggers, figures, test.rows())
    write_metrics(folder / "metrics.json", metrics)  # last: a run folder with metrics.json lacks nothing


def tell_results(folder: Path, metrics: dict[str, Any], threshold: float | str, table: bool = True) -> None:
    """The figures of a finished run, for people; `table`: also as a table on standard output."""
    if table:
        majority = {split: metrics[split]["articles"]["majority_rate"] for split in ("val", "test")}
        print_results(metrics, Console(), majority)
    for line in trust_lines(metrics["test"], threshold):
        log.info("%s", line)
    log.info(
        "Ended after %d epoch%s (%s), %.0f s. Everything is in %s",
        metrics["epochs"], "s" * (metrics["epochs"] != 1), metrics["stopped_by"], metrics["seconds"],
        short_path(folder),
    )  # fmt: skip


def history_of(trainer: pl.Trainer) -> list[dict[str, float]]:
    return next(callback.epochs for callback in trainer.callbacks if isinstance(callback, EpochHistory))


def print_start(
    config: TrainConfig, datamodule: FakeNewsNetDataModule, module: SafeModule, folder: Path, resumed: bool
) -> None:
    """What is about to happen, in a dozen lines: data, model, update, where it is written."""
    model = config.model
    update = {
        "closed_form": "closed form, Eqs. (12)-(18)",
        "algorithm1": f"Algorithm 1, {model.order.value}",
        "autograd": "autograd",
    }[model.update.value]
    rows = [
        *datamodule.summary(),
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
    if datamodule.leakage is not None:
        log.warning("%s", datamodule.leakage)


def quiet_libraries() -> None:
    """Silence what Lightning and its kin say of themselves, and warnings that the user can do nothing about."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torchmetrics)\..*")
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
