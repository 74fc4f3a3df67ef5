"""The results of a trained job: files in its folder, and lines on the terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from rich.console import Console

from safe_exp.config import TrainConfig
from safe_exp.config.threshold import BEST
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.figures.files import remove_drawings
from safe_exp.runs.loggers import log_results
from safe_exp.scoring.calibration import VALIDATION
from safe_exp.scoring.epoch_values import write_curves
from safe_exp.scoring.results import Results, write_metrics, write_predictions
from safe_exp.scoring.table import print_results
from safe_exp.scoring.trust import trust_lines
from safe_exp.system.files import short_path
from safe_exp.training.callbacks import EpochHistory
from safe_exp.training.hooks import find_callbacks
from safe_exp.training.stopping import ended_within_epoch, stopped_by

if TYPE_CHECKING:
    from safe_exp.runs.loggers import OpenLogger

log = logging.getLogger(__name__)


def describe_course(
    trainer: pl.Trainer, data: FakeNewsNetDataModule, best_epoch: int | None, start: float
) -> dict[str, Any]:
    """Describe the course of a training for metrics.json: epochs, reason of the end, seconds and data.

    Args:
        best_epoch: of the best checkpoint, counted from 0; metrics.json counts from 1.
        start: of the job, by `time.perf_counter`.
    """
    return {
        "epochs": len(epoch_history(trainer)),  # counts a last epoch that was cut short
        "best_epoch": None if best_epoch is None else best_epoch + 1,
        "stopped_by": stopped_by(trainer),
        "ended_within_epoch": ended_within_epoch(trainer),
        "seconds": round(time.perf_counter() - start, 3),
        "data": {
            **{name: len(getattr(data.split, name)) for name in ("train", "val", "test")},
            "fingerprint": data.fingerprint,
        },
    }


def epoch_history(trainer: pl.Trainer) -> list[dict[str, float]]:
    """Return the logged values of each epoch of the training, including those before a resume."""
    return find_callbacks(trainer, EpochHistory)[0].epochs


def write_results(
    folder: Path,
    results: Results,
    course: Mapping[str, Any],
    history: list[dict[str, float]],
    loggers: list[OpenLogger],
    draws: bool,
) -> dict[str, Any]:
    """Write predictions.csv, curves.json, calibration, figures and metrics.json, and log them where a logger can.

    Args:
        folder: of the run.
        results: the scores of validation and test.
        course: from `describe_course`.
        history: from `epoch_history`.
        loggers: from `open_loggers`, still open.
        draws: draw the figures now; `python -m safe_exp.report run=DIR` draws them later.
    Returns:
        The content of metrics.json.
    """
    metrics = {**results.metrics, **course}
    test, (calibration, threshold) = results.predictions[-1], results.judgement
    best_epoch = None if course["best_epoch"] is None else course["best_epoch"] - 1
    write_predictions(folder / "predictions.csv", results.predictions)
    write_curves(folder, history)
    if calibration is not None:
        calibration.save(folder / "artifacts")
        metrics["calibration"] = calibration.plain()
    elif threshold == BEST:
        log.warning("threshold=best: the validation articles are of one class, so verdicts are cut at 0.5.")
    remove_drawings(folder)  # those of an earlier end of this run
    figures = {}
    if draws:
        from safe_exp.figures.of_a_run import draw_figures  # matplotlib, which is slow to import

        figures = draw_figures(folder, best_epoch, calibration)
    tables = None
    if any(logger.kind.draws_charts for logger in loggers):
        from safe_exp.scoring.charts import chart_tables

        tables = chart_tables(test, calibration)
    log_results(loggers, figures, test.rows(), tables)
    write_metrics(folder / "metrics.json", metrics)  # last: a run folder with metrics.json is complete
    return metrics


def draws_figures(config: TrainConfig, sweep: str | None) -> bool:
    """Tell whether a run is drawn at its end.

    Args:
        sweep: the name of the sweep that it is a job of; None: it is a single run.
    """
    if config.figures == "auto":
        return sweep is None or config.logger.pictures
    return bool(config.figures)


def show_results(folder: Path, metrics: Mapping[str, Any], threshold: float | str, table: bool = True) -> None:
    """Show the figures of a finished run on the terminal.

    Args:
        folder: of the run.
        metrics: the content of metrics.json.
        threshold: as configured, a number or `best`.
        table: also print a table of the figures on standard output.
    """
    if table:
        majority = {split: metrics[split]["articles"]["majority_rate"] for split in ("val", "test")}
        print_results(metrics, Console(), majority, _title(metrics))
    fitted_on = metrics["refit"]["calibrated_on"] if "refit" in metrics else VALIDATION
    for line in trust_lines(metrics["test"], threshold, fitted_on):
        log.info("%s", line)
    log.info(
        "Ended after %d epoch%s (%s), %.0f s. Everything is in %s",
        metrics["epochs"], "s" * (metrics["epochs"] != 1), metrics["stopped_by"], metrics["seconds"],
        short_path(folder),
    )  # fmt: skip


def _title(metrics: Mapping[str, Any]) -> str:
    """Name the weights whose figures the table shows."""
    rule = metrics.get("selection", {}).get("rule", "best")
    title = {"last": "Results of the last epoch", "average": "Results of the averaged weights"}.get(rule)
    title = title or "Results of the best checkpoint"
    return f"Test by {metrics['refit']['test_scored_by']}" if "refit" in metrics else title
