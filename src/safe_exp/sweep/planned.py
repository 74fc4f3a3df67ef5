"""The jobs that a sweep was to run, worked out from DIR/multirun.yaml as Hydra works them out."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from safe_exp.system.errors import first_line
from safe_exp.system.yaml_files import read_yaml

log = logging.getLogger(__name__)

SWEEPERS = ("BasicSweeper", "ResumableSweeper")  # Hydra's own, and hydra_plugins.safe_exp_sweeper


def planned_jobs(path: Path) -> list[list[str]] | None:
    """The overrides of each job by its number; None when the file is missing or does not tell.

    A sweeper that decides as it goes (optuna) tells only how many jobs there will be: their overrides are empty.
    """
    settings = read_yaml(path).get("hydra")
    if not isinstance(settings, dict):
        return None
    sweeper = settings.get("sweeper") or {}
    task = (settings.get("overrides") or {}).get("task") or []
    if not str(sweeper.get("_target_", "")).endswith(SWEEPERS):
        trials = sweeper.get("n_trials")
        return [[] for _ in range(trials)] if isinstance(trials, int) else None
    given = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()] + [str(item) for item in task]
    try:
        batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(given), max_batch_size=None)
    except HydraException as error:  # glob(*), say, needs the configs of that time
        log.warning("%s: the jobs of the sweep cannot be worked out (%s).", path, first_line(error))
        return None
    return without_skipped(batches[0], sweeper.get("skip") or [])


def without_skipped(jobs: list[list[str]], skip: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The jobs but for those with all the values of a combination in `skip`, as in {model.alpha: 0, model.beta: 0}."""

    def skipped(job: list[str]) -> bool:
        values = dict(override.split("=", 1) for override in job)
        return any(all(_alike(values.get(key), value) for key, value in combination.items()) for combination in skip)

    return [job for job in jobs if not skipped(job)]


def _alike(written: str | None, value: Any) -> bool:
    try:
        return float(written) == float(value)  # 0, 0.0 and 0e0 are one value
    except (TypeError, ValueError):
        return written == str(value)
