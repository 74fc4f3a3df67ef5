"""CSV files of all logged values: logs/version_<n>/metrics.csv."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import CSVLogger

from safe_exp.runs.loggers import LoggedRun, LoggerKind, loggers


class Csv(LoggerKind):
    name = "csv"
    required = True  # a run that does not reach its end has its epochs here alone

    def open(self, settings: Mapping[str, Any], run: LoggedRun) -> CSVLogger:
        return CSVLogger(run.folder, name="logs")  # a new version_<n> each time: a resumed run deletes no rows


loggers.add(Csv())
