"""A logger in use, as Lightning's Trainer sees it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from safe_exp.runs.loggers import LoggerKind

if TYPE_CHECKING:
    from safe_exp.scoring.charts import ChartTable

log = logging.getLogger(__name__)


class OpenLogger(Logger):
    """A logger of any kind that gets every call until one fails.

    The failure costs a warning; of a required kind it is raised.
    """

    def __init__(self, kind: LoggerKind, logger: Logger) -> None:
        super().__init__()
        self.kind, self.logger = kind, logger
        self.broken = False

    @rank_zero_only
    def attempt(self, what: str, action: Callable[[Any], Any]) -> Any:
        """Call `action` with the logger and return its result; None once a call has failed.

        Args:
            what: completes the warning "W&B could not …".
        Raises:
            Exception: the call fails, and the logger is required.
        """
        if self.broken:
            return None
        try:
            return action(self.logger)
        except Exception as error:  # whatever a service, a network or a disk can raise
            if self.kind.required:
                raise
            self.broken = True
            title = self.kind.title or self.kind.name
            log.warning("%s could not %s (%s); the run goes on without it.", title, what, in_one_line(error))
            return None

    def log_rows(self, rows: Sequence[tuple[dict[str, float], int]]) -> None:
        self.attempt("log metrics", lambda logger: self.kind.log_rows(logger, rows))

    def log_results(self, figures: dict[str, Path], predictions: list[dict[str, Any]]) -> None:
        self.attempt("log the results", lambda logger: self.kind.log_results(logger, figures, predictions))

    def log_charts(self, tables: Mapping[str, ChartTable]) -> None:
        self.attempt("log the charts", lambda logger: self.kind.log_charts(logger, tables))

    def close(self, exit_code: int) -> None:
        self.attempt("close the run", lambda logger: self.kind.close(logger, exit_code))

    # ── called by Lightning ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def version(self) -> None:
        """Always None: Lightning would name a folder of checkpoints by it, and a run folder has its own."""

    @property
    def save_dir(self) -> str | None:
        # Profilers write to Trainer.log_dir: the log_dir of loggers that Lightning knows by class, else the save_dir.
        return self.attempt("name its folder", _folder)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.attempt("log metrics", lambda logger: logger.log_metrics(metrics, step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.attempt("log the hyper-parameters", lambda logger: logger.log_hyperparams(params, *args, **kwargs))

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        self.attempt("log the model", lambda logger: _optional(logger, "log_graph")(model, input_array))

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self.attempt("log a checkpoint", lambda logger: _optional(logger, "after_save_checkpoint")(checkpoint_callback))

    def save(self) -> None:
        self.attempt("save its log", lambda logger: _optional(logger, "save")())

    def finalize(self, status: str) -> None:
        self.attempt("finish its log", lambda logger: logger.finalize(status))


def _folder(logger: Any) -> str | None:
    return getattr(logger, "log_dir", None) or getattr(logger, "save_dir", None)


def _optional(logger: Any, method: str) -> Callable[..., Any]:
    """Return a method that a class need not have unless it inherits from Lightning's, which does nothing in it."""
    return getattr(logger, method, lambda *_: None)


def in_one_line(error: Exception) -> str:
    """Return an error's message in one line of at most 200 characters; its type's name where it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__
