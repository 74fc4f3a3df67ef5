"""The planned jobs of a sweep, computed from its multirun.yaml as Hydra computes them."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from safe_exp.system.errors import UserError, first_line
from safe_exp.system.yaml_files import read_yaml

log = logging.getLogger(__name__)

GRID_SWEEPERS = ("BasicSweeper", "ResumableSweeper")  # Hydra's own, and hydra_plugins.safe_exp_sweeper


def planned_jobs(path: Path) -> list[list[str]] | None:
    """Compute the overrides of each job, by number; None if the file is missing or does not determine them.

    A sweeper that chooses jobs one by one (optuna) gives only their number: the overrides of each are empty.

    Args:
        path: of multirun.yaml.
    Raises:
        UserError: the stored overrides hold an interval.
    """
    settings = read_yaml(path).get("hydra")
    if not isinstance(settings, dict):
        return None
    sweeper = settings.get("sweeper") or {}
    task = (settings.get("overrides") or {}).get("task") or []
    if not str(sweeper.get("_target_", "")).endswith(GRID_SWEEPERS):
        trials = sweeper.get("n_trials")
        return [[] for _ in range(trials)] if isinstance(trials, int) else None
    given = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()] + [str(item) for item in task]
    try:
        jobs = grid_jobs(OverridesParser.create().parse_overrides(given))
    except HydraException as error:  # such as of glob(*), which needs the config files of that time
        log.warning("%s: the jobs of the sweep cannot be computed (%s).", path, first_line(error))
        return None
    return drop_skipped(jobs, sweeper.get("skip") or [])


def grid_jobs(overrides: Sequence[Override]) -> list[list[str]]:
    """List the overrides of each job: every combination of values; the last key's value changes fastest.

    Args:
        overrides: as Hydra parses them; of two with the same key the later one counts.
    Raises:
        UserError: an override is an interval, which has no list of values.
        HydraException: Hydra cannot look up a glob.
    """
    values: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if override.is_interval_sweep():
            raise UserError(f"{override.input_line}: a grid runs a list of values, as in {key}=0.2,0.4.")
        one_or_more = override.is_sweep_override()
        found = override.sweep_string_iterator() if one_or_more else [override.get_value_element_as_str()]
        values[key] = [f"{key}={value}" for value in found]
    return [list(job) for job in itertools.product(*values.values())]


def drop_skipped(jobs: list[list[str]], skip: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Drop the jobs that have all values of a combination in `skip`, such as {model.alpha: 0, model.beta: 0}.

    Args:
        jobs: the overrides of each job, as key=value.
        skip: combinations of values, by key.
    """

    def skipped(job: list[str]) -> bool:
        values = dict(override.split("=", 1) for override in job)
        return any(all(_alike(values.get(key), value) for key, value in combination.items()) for combination in skip)

    return [job for job in jobs if not skipped(job)]


def _alike(written: str | None, value: Any) -> bool:
    """Compare a value of the command line with one of YAML; numbers by their value."""
    try:
        return float(written) == float(value)
    except (TypeError, ValueError):
        return written == str(value)


def require_numbered_folders(config: DictConfig) -> None:
    """Refuse names of the user's own for the folders of jobs: a sweep is resumed and read by the jobs' numbers.

    Args:
        config: of the sweep, with its group hydra.
    Raises:
        UserError: hydra.sweep.subdir has another value than the job's number.
    """
    given = cast("dict[str, str]", OmegaConf.to_container(config.hydra.sweep, resolve=False))["subdir"]
    if given != "${hydra.job.num}":
        raise UserError(
            f"hydra.sweep.subdir={given}: the folder of a job is its number in the sweep, by which resume_sweep and "
            "report find it. Leave it out; the report's first table has the settings of each job."
        )
