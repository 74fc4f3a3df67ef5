"""The figures of a finished run, drawn from the numbers in its folder, whether at its end or whenever somebody asks."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from safe_exp.figures.reliability import draw_reliability
from safe_exp.figures.run_figures import draw_run_figures
from safe_exp.runs.job_outcome import MULTIRUN, read_job
from safe_exp.scoring.calibration import Calibration
from safe_exp.scoring.results import CURVES
from safe_exp.system.errors import UserError
from safe_exp.system.files import read_sealed_json


@dataclass(frozen=True)
class StoredPredictions:
    """The test articles of a run's predictions.csv, N of them; probability and similarity have six digits."""

    label: np.ndarray  # (N,) 1 = fake
    probability: np.ndarray  # (N,) of fake
    similarity: np.ndarray | None  # (N,); None: no article has one
    verdict: np.ndarray  # (N,) 1 = fake

    @classmethod
    def read(cls, path: Path) -> StoredPredictions:
        """Read the test articles.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            with open(path, newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
            columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in cls.__annotations__}
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise UserError(f"{path}: the predictions cannot be read ({error}), so nothing is drawn.") from error
        similarity = columns["similarity"] if np.isfinite(columns["similarity"]).any() else None
        return cls(columns["label"].astype(int), columns["probability"], similarity, columns["verdict"].astype(int))


def draw_figures(folder: Path, best_epoch: int | None, calibration: Calibration | None) -> dict[str, Path]:
    """Write the figures of a run into folder/figures/, and return their paths by name.

    Args:
        folder: of the run; its predictions.csv and curves.json hold the numbers.
        best_epoch: the epoch of the best checkpoint, counted from 0 as by Lightning; None: there is none.
        calibration: fitted on the validation articles; None where there is none, and then no reliability either.
    Raises:
        UserError: one of these files is missing or damaged.
        UnwritableFile: a figure cannot be written.
    """
    test = StoredPredictions.read(folder / "predictions.csv")
    figures = draw_run_figures(folder, _read_epochs(folder), test, best_epoch)
    if calibration is not None:
        figures["reliability"] = draw_reliability(folder / "figures" / "reliability.png", test, calibration)
    return figures


def draw_figures_of_finished(folder: Path) -> dict[str, Path]:
    """Write the figures of the finished run in `folder`, as `draw_figures` does at the end of a run.

    Raises:
        UserError: the folder holds no finished run of train, or one of its files is missing or damaged.
        UnwritableFile: a figure cannot be written.
    """
    job = read_job(folder, 0, [])
    if job.state != "finished" or "best_epoch" not in job.metrics:
        why = job.reason or "it holds no metrics.json of safe_exp.train"
        if (folder / MULTIRUN).exists():
            why = f"it is the folder of a sweep, for which there is sweep={folder}"
        raise UserError(f"run={folder}: there is no finished run of safe_exp.train in this folder ({why}).")
    best_epoch = job.metrics["best_epoch"]
    calibration = Calibration.load(folder / "artifacts") if "calibration" in job.metrics else None
    return draw_figures(folder, None if best_epoch is None else best_epoch - 1, calibration)


def _read_epochs(folder: Path) -> list[dict[str, float]]:
    """Read the logged values of each epoch: from curves.json, and in older runs from the CSV log if there is one."""
    path = folder / CURVES
    if path.exists():
        try:
            epochs = read_sealed_json(path)[0]["epochs"]
            return [{name: np.nan if value is None else float(value) for name, value in row.items()} for row in epochs]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: the curves cannot be read ({error}).") from error
    logged = read_job(folder, 0, []).epochs
    count = max((max(values, default=-1) for values in logged.values()), default=-1) + 1
    return [{name: values[epoch] for name, values in logged.items() if epoch in values} for epoch in range(count)]
