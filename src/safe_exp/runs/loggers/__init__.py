"""The loggers of a run. Each kind registers itself in a module of its own here; conf/logger chooses among them.

A fault of a logger costs one warning and the rest of its log, never the run; of the CSV files it ends the run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safe_exp.config import LoggerConfig
from safe_exp.system.registry import Registry

if TYPE_CHECKING:  # Lightning takes seconds to import; the names of the loggers are needed without it
    from pytorch_lightning.loggers import Logger

    from safe_exp.runs.loggers._opened import OpenLogger

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoggedRun:
    """All that a logger is told of its run."""

    folder: Path  # absolute
    name: str  # such as the job's overrides
    group: str | None  # the sweep that it belongs to; None for a single run
    config: dict[str, Any]  # as plain values


class LoggerKind:
    """Opens loggers of one kind: Lightning's own, or any class with Lightning's interface.

    Only `name` and `open` must be given. `open` imports the service's library, so that others do without it.
    """

    name: str
    title = ""  # in messages; empty: the name
    required = False  # whether a fault ends the run

    def open(self, settings: Mapping[str, Any], run: LoggedRun) -> Logger | None:
        """A logger of this run; None where the user has turned it off by other means.

        Args:
            settings: the user's own, from `logger.more.<name>`.
        """
        raise NotImplementedError

    def log_results(self, logger: Any, figures: dict[str, Path], predictions: list[dict[str, Any]]) -> None:
        """Show the figures and the test articles of a finished run, where the service can."""

    def close(self, logger: Any, exit_code: int) -> None:
        """Write out what is left and end the log."""
        logger.finalize("success" if exit_code == 0 else "failed")


loggers: Registry[LoggerKind] = Registry("logger.more", __name__)


def require_known_loggers(config: LoggerConfig) -> None:
    """Refuse a logger that there is none of, before anything is prepared or trained; imports no logger.

    Raises:
        UserError: the message lists those that there are.
    """
    for name in config.chosen:
        loggers.require(name)


def open_loggers(
    config: LoggerConfig, folder: Path, run_name: str, group: str | None, resolved: dict[str, Any]
) -> list[OpenLogger]:
    """The loggers that `config` asks for, for Lightning's Trainer; to be closed with `close_loggers`.

    Returns:
        None in any process but the first, so that a run is recorded once. One that cannot be opened is left out.
    """
    run = LoggedRun(Path(folder).resolve(), run_name, group, resolved)
    opened = [open_logger(name, settings, run) for name, settings in config.chosen.items()]
    return [logger for logger in opened if logger is not None]


def open_logger(name: str, settings: Mapping[str, Any], run: LoggedRun) -> OpenLogger | None:
    """One logger; None where it is turned off, cannot be opened, or this is not the first process."""
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    from safe_exp.runs.loggers._opened import OpenLogger, in_one_line

    kind = loggers[name]
    if rank_zero_only.rank != 0:
        return None
    try:
        logger = kind.open(settings, run)
    except Exception as error:  # whatever a service, a network or a disk can raise
        if kind.required:
            raise
        log.warning("%s could not be started (%s); the run goes on without it.", kind.title or name, in_one_line(error))
        return None
    return None if logger is None else OpenLogger(kind, logger)


def log_results(opened: list[OpenLogger], figures: dict[str, Path], predictions: list[dict[str, Any]]) -> None:
    """Show what a run has led to.

    Args:
        figures: PNG files by name.
        predictions: one dict for each test article: id, label, probability, similarity (may be None) and verdict.
    """
    for logger in opened:
        logger.log_results(figures, predictions)


def close_loggers(opened: list[OpenLogger], exit_code: int) -> None:
    """End every log with the job's exit status, so that the next job of this process begins its own."""
    for logger in opened:
        logger.close(exit_code)
