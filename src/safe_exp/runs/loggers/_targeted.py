"""Loggers by `_target_`: classes of the user's own, or of Lightning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from safe_exp.runs.loggers import LoggedRun, LoggerKind
from safe_exp.system.errors import UserError
from safe_exp.system.named_objects import import_named

METHODS = ("log_metrics", "log_hyperparams", "finalize")  # called on every logger; others where a class has them
HYDRA_KEYS = ("_target_", "_convert_", "_recursive_", "_partial_")  # no arguments; all but the first change nothing


class Targeted(LoggerKind):
    """A class with Lightning's interface for loggers; the other settings are its arguments.

    The class need not inherit from Lightning's, which has two names (pytorch_lightning and lightning.pytorch). Nested
    `_target_` keys stay plain values: a resumed run has its settings from its folder, which may build only a logger.

    Args:
        name: the user's, from `logger.more.<name>`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, settings: Mapping[str, Any]) -> None:
        self._find(settings)

    def _find(self, settings: Mapping[str, Any]) -> type:
        """Import the class.

        Raises:
            UserError: it cannot be imported, or is no logger.
        """
        key = f"logger.more.{self.name}._target_"
        found: Any = import_named(key, settings["_target_"])
        missing = [method for method in METHODS if not callable(getattr(found, method, None))]
        if not isinstance(found, type) or missing:
            fault = f"it has no {', '.join(missing)}" if missing else "it is no class"
            raise UserError(
                f"{key}={settings['_target_']}: expected a logger for Lightning, and {fault}. Inherit from "
                "pytorch_lightning.loggers.Logger."
            )
        return found

    def open(self, settings: Mapping[str, Any], run: LoggedRun) -> Logger:
        # Not with Hydra's instantiate, which would read a ${…} in the run's name as a key of its own.
        logger: Logger = self._find(settings)(
            **{key: _fill(value, run) for key, value in settings.items() if key not in HYDRA_KEYS}
        )
        return logger

    def log_results(self, logger: Any, figures: dict[str, Path], predictions: list[dict[str, Any]]) -> None:
        """Call the method of that name where the class has one; Lightning's own loggers have none."""
        if hasattr(logger, "log_results"):
            logger.log_results(figures, predictions)


def _fill(value: Any, run: LoggedRun) -> Any:
    """Replace {folder}, {sweep_folder}, {name}, {group} and {project} by the run's own, in all strings of a setting.

    A single run's {sweep_folder} is its own folder. It has no group: a setting that is "{group}" alone becomes None.
    """
    if isinstance(value, Mapping):
        return {key: _fill(inner, run) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_fill(inner, run) for inner in value]
    if not isinstance(value, str):
        return value
    if value == "{group}":
        return run.group
    known = {
        "folder": str(run.folder),
        "sweep_folder": str(run.sweep_folder or run.folder),
        "name": run.name,
        "group": run.group or "",
        "project": run.project,
    }
    return re.sub(rf"{{({'|'.join(known)})}}", lambda found: known[found[1]], value)
