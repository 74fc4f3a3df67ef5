"""Every logged value as CSV, in logs/version_<n>/metrics.csv."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import CSVLogger

from safe_exp.runs.loggers import LoggedRun, LoggerKind, loggers


class Csv(LoggerKind):
    name = "csv"
    required = True  # local files, of which reports read the curves

    def open(self, settings: Mapping[str, Any], run: LoggedRun) -> CSVLogger:
        return CSVLogger(run.folder, name="logs")  # a new version_<n> each time: a resumed run deletes no rows


loggers.add(Csv())
