"""The loggers of a run: each kind registers itself in a module of its own here, and conf/logger chooses among them.

Settings with a `_target_` name a class of the user's own instead (`_targeted`).

A fault of a logger costs one warning and the rest of its log, never the run. Only a fault of the CSV files ends it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safe_exp.config import LoggerConfig
from safe_exp.runs.job_outcome import MULTIRUN
from safe_exp.system.extras import require_extra
from safe_exp.system.registry import Registry

if TYPE_CHECKING:  # Lightning takes seconds to import; the loggers' names are needed without it
    from pytorch_lightning.loggers import Logger

    from safe_exp.runs.loggers._opened import OpenLogger
    from safe_exp.scoring.charts import ChartTable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoggedRun:
    """The run, as a logger is told of it."""

    folder: Path  # absolute
    name: str  # such as the job's overrides
    group: str | None  # the sweep that it belongs to; None for a single run
    config: dict[str, Any]  # typed and resolved, as plain values
    project: str = "safe_exp"  # that the run belongs to

    @property
    def sweep_folder(self) -> Path | None:
        """Folder of the sweep that the run belongs to; None for a single run."""
        if self.group is None:
            return None
        return next((above for above in self.folder.parents if (above / MULTIRUN).exists()), self.folder.parent)


class LoggerKind:
    """One kind of logger: opens Lightning's own, or any class with Lightning's interface.

    Only `name` and `open` must be given. `open` imports the service's library, so that the other kinds do without it.
    """

    name: str
    title = ""  # in messages; empty: the name
    required = False  # True: a fault ends the run
    package: str | None = None  # that pip install "safe-exp[<name>]" brings; None: nothing is missing without it

    def open(self, settings: Mapping[str, Any], run: LoggedRun) -> Logger | None:
        """Open a logger of this run; None where the user has turned it off by other means.

        Args:
            settings: the user's own, from `logger.more.<name>`.
        Raises:
            Exception: any, where the logger cannot be opened. It costs a warning, or the run where `required`.
        """
        raise NotImplementedError

    def require_package(self) -> None:
        """Refuse to begin without the service's package.

        Raises:
            UserError: it is not installed; the message has the command that installs it.
        """
        if self.package is not None:
            otherwise = f"Or leave {self.name} out of logger=…."
            require_extra(f"logger={self.name}", self.package, self.name, otherwise)

    def check(self, settings: Mapping[str, Any]) -> None:
        """Refuse wrong settings, before the data are read.

        Raises:
            UserError: the message names the key, `logger.more.<name>.…`.
        """

    def log_rows(self, logger: Any, rows: Sequence[tuple[dict[str, float], int]]) -> None:
        """Log the values of a whole training, each row with its step, as Lightning has logged them one by one."""
        for values, step in rows:
            logger.log_metrics(values, step)

    def log_results(self, logger: Any, figures: dict[str, Path], predictions: list[dict[str, Any]]) -> None:
        """Show figures and test articles of a finished run, where the service can; see `log_results` below."""

    def log_charts(self, logger: Any, tables: Mapping[str, ChartTable]) -> None:
        """Draw charts of a finished run from numbers, where the service can; see `log_results` below."""

    @property
    def draws_charts(self) -> bool:
        """Tell whether the service draws charts from numbers: whether the kind has a `log_charts` of its own."""
        return type(self).log_charts is not LoggerKind.log_charts

    def close(self, logger: Any, exit_code: int) -> None:
        """Write what is left and end the log with the job's exit status."""
        logger.finalize("success" if exit_code == 0 else "failed")


loggers: Registry[LoggerKind] = Registry("logger.more", __name__)


def find_kind(name: str, settings: Mapping[str, Any]) -> LoggerKind:
    """Return the kind of a chosen logger: a class of the user's own where its settings have a `_target_`.

    Raises:
        UserError: there is no such logger; the message lists those that there are.
    """
    if "_target_" not in settings:
        return loggers[name]
    from safe_exp.runs.loggers._targeted import Targeted

    return Targeted(name)


def is_known(name: str, settings: Mapping[str, Any]) -> bool:
    """Tell whether a chosen logger is one of these here, or names a class; imports no logger."""
    return "_target_" in settings or name in loggers.names()


def require_known_loggers(config: LoggerConfig) -> None:
    """Refuse an unknown logger before anything is prepared or trained; imports no logger.

    Raises:
        UserError: there is no such logger; the message lists those that there are.
    """
    for name, settings in config.chosen.items():
        if not is_known(name, settings):
            loggers.require(name)


def check_loggers(config: LoggerConfig) -> None:
    """Let each chosen logger check its settings.

    Raises:
        UserError: a setting is wrong, a package is missing, a class cannot be imported, or there is no such logger.
    """
    for name, settings in config.chosen.items():
        kind = find_kind(name, settings)
        kind.require_package()
        kind.check(settings)


def open_loggers(
    config: LoggerConfig, folder: Path, run_name: str, group: str | None, resolved: dict[str, Any]
) -> list[OpenLogger]:
    """Open the loggers that `config` asks for; close them with `close_loggers`.

    Args:
        folder: of the run.
        run_name: such as the job's overrides.
        group: the sweep that the job belongs to; None for a single run.
        resolved: the run's config as plain values.
    Returns:
        Loggers for Lightning's Trainer. One that cannot be opened is left out; a process that is not the job's first
        opens none, so that a run is recorded once.
    Raises:
        Exception: a required logger cannot be opened, by whatever its library raises.
    """
    run = LoggedRun(Path(folder).resolve(), run_name, group, resolved, config.project)
    opened = [open_logger(name, settings, run) for name, settings in config.chosen.items()]
    return [logger for logger in opened if logger is not None]


def open_logger(name: str, settings: Mapping[str, Any], run: LoggedRun) -> OpenLogger | None:
    """Open one logger; None where it is turned off, cannot be opened, or this is not the first process.

    Raises:
        Exception: a required logger cannot be opened, by whatever its library raises.
    """
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    from safe_exp.runs.loggers._opened import OpenLogger, in_one_line

    kind = find_kind(name, settings)
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]  # Lightning sets it on the function
        return None
    try:
        logger = kind.open(settings, run)
    except Exception as error:  # whatever a service, a network or a disk can raise
        if kind.required:
            raise
        log.warning("%s could not be started (%s); the run goes on without it.", kind.title or name, in_one_line(error))
        return None
    return None if logger is None else OpenLogger(kind, logger)


def log_results(
    opened: list[OpenLogger],
    figures: dict[str, Path],
    predictions: list[dict[str, Any]],
    tables: Mapping[str, ChartTable] | None = None,
) -> None:
    """Show the results of a run in every logger that can.

    Args:
        opened: as `open_loggers` returns them.
        figures: PNG files by name.
        predictions: one dict for each test article: id, label, probability, similarity (may be None) and verdict.
        tables: the numbers of the charts by name, from `chart_tables`.
    """
    for logger in opened:
        logger.log_results(figures, predictions)
        if tables:
            logger.log_charts(tables)


def close_loggers(opened: list[OpenLogger], exit_code: int) -> None:
    """End every log with the job's exit status, so that the next job of this process begins logs of its own."""
    for logger in opened:
        logger.close(exit_code)
