"""The config of a resumed run, stopped or finished, and the refusals of what cannot be resumed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple, cast

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from safe_exp.config.data import absolute_paths
from safe_exp.runs.folder import is_run
from safe_exp.runs.settings import require_same_settings, restore_earlier_defaults
from safe_exp.system.errors import UserError, first_line
from safe_exp.system.files import read_sealed_json, whole_file

ADDITIONS = Path(".hydra", "added.yaml")  # overrides that resumes have added, such as trainer.max_epochs=…

ENDED_WITHIN_EPOCH = (
    "was ended within an epoch (by trainer.max_steps or trainer.max_time), so it cannot be trained further. "
    "Start a new run with the higher limit: under the same seed it takes the same steps."
)


def resumed_config(run: Path, config_name: str) -> DictConfig:
    """Compose the config of the run in `run` again, from the overrides that it was started with.

    The run's own status.json is left as it is.

    Args:
        run: the run folder.
        config_name: of the command, such as train.
    Raises:
        UserError: there is no run in the folder; it has finished, and no limit is raised; the command changes more
            than `trainer.*`; or conf/ no longer gives the values that the run was started with.
    """
    config = HydraConfig.get()
    if config.mode.name == "MULTIRUN":
        raise UserError("resume continues one run, so it cannot be swept over; leave out -m.")
    if not run.is_dir():
        raise UserError(f"resume={run}: there is no such folder. Give that of a run, such as outputs/<date>/<time>.")
    if (run / "multirun.yaml").exists():
        raise UserError(
            f"resume={run}: this is the folder of a sweep. To go on with it: python -m safe_exp.train -m "
            f"resume_sweep={run}. One job of it: resume={run / '0'}."
        )
    if not is_run(str(run)):
        raise UserError(f"resume={run}: there is no run in this folder (.hydra/overrides.yaml is missing or empty).")
    added = _additions()
    changes = [override for override in added if not override.startswith("trainer.")]
    if changes:
        raise UserError(
            f"resume={run} goes on with the run's own settings, so {' '.join(changes)} cannot be given with it; only "
            "trainer.… can (more epochs, say). Start a new run instead."
        )
    start, kept = _read_start(run), _kept_additions(run)
    now = _merged(kept, added)
    before, composed = (compose(config_name, overrides=[*start.overrides, *later]) for later in (kept, now))
    if (run / "metrics.json").exists():
        _require_raised_limit(run, before, composed)
    _require_same_schedule(run, before, composed)
    given = {override.split("=")[0] for override in now}
    require_same_settings(f"resume={run}", "run", _plain(start.config), _plain(composed), given)
    restore_earlier_defaults(composed, _plain(start.config))
    _root_paths(composed, Path(start.hydra.runtime.cwd))
    composed.resume = str(run)
    return composed


def reopen_run(run: Path) -> None:
    """Make a resumed run one that trains: remove the results of its end, keep what this command adds for later resumes.

    Called once training begins, so that a command that is refused before leaves the run as it was.
    """
    from safe_exp.scoring.calibration import CALIBRATION_FILE  # scipy is slow to import, and --help needs none of it

    # The figures of a run that had finished go first. Killed between the two, it is a run that has ended.
    (run / "metrics.json").unlink(missing_ok=True)
    (run / "artifacts" / CALIBRATION_FILE).unlink(missing_ok=True)  # of a checkpoint that may soon not be the best one
    if _additions():
        with whole_file(run / ADDITIONS) as draft:
            OmegaConf.save(OmegaConf.create(_merged(_kept_additions(run), _additions())), draft)


class _Start(NamedTuple):
    """Hydra's notes about the start of a run, from its folder .hydra/."""

    overrides: list[str]
    config: DictConfig
    hydra: Any  # its own config


def _read_start(run: Path) -> _Start:
    """Read Hydra's notes about the start of a run.

    Raises:
        UserError: a file is missing, damaged, or lacks what is needed of it.
    """
    found: dict[str, Any] = {}
    for name, key in (("overrides", None), ("config", "data"), ("hydra", "hydra.runtime.cwd")):
        path = run / ".hydra" / f"{name}.yaml"
        try:
            found[name] = OmegaConf.load(path)
            if key is not None and OmegaConf.select(found[name], key) is None:
                raise ValueError(f"it holds no {key}")
        except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
            raise UserError(
                f"resume={run}: .hydra/{path.name} cannot be read ({first_line(error)}). Without it nobody "
                "knows what the run was; bring it back, or start a new run."
            ) from error
    return _Start(list(found["overrides"]), found["config"], found["hydra"].hydra)


def _additions() -> list[str]:
    """List the overrides of this command, without resume=DIR."""
    return [o for o in HydraConfig.get().overrides.task if not o.lstrip("+").startswith("resume=")]


def _kept_additions(run: Path) -> list[str]:
    """List the overrides that earlier resumes have added."""
    return list(OmegaConf.load(run / ADDITIONS)) if (run / ADDITIONS).exists() else []


def _merged(kept: list[str], added: list[str]) -> list[str]:
    """Keep one override for each key, the later one."""
    return list({override.partition("=")[0]: override for override in [*kept, *added]}.values())


def _require_raised_limit(run: Path, before: DictConfig, now: DictConfig) -> None:
    """Refuse to train a finished run further unless a limit is raised, or when it ended within an epoch."""

    def limit(config: DictConfig, key: str) -> float:
        value = config.trainer[key]
        return math.inf if value in (None, -1) else value

    raised = any(limit(now, key) > limit(before, key) for key in ("max_epochs", "max_steps"))
    if not raised and now.trainer.max_time == before.trainer.max_time:
        raise UserError(
            f"resume={run}: this run has finished, its figures are in metrics.json. To train it further raise its "
            f"limit, as in trainer.max_epochs={2 * (before.trainer.max_epochs or 50)}."
        )
    if _ended_within_epoch(run):
        raise UserError(f"resume={run}: this run {ENDED_WITHIN_EPOCH}")


def _ended_within_epoch(run: Path) -> bool:
    try:
        return bool(read_sealed_json(run / "metrics.json")[0].get("ended_within_epoch"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"resume={run}: metrics.json cannot be read ({error}). Remove it, and the figures are made anew from the "
            "last checkpoint."
        ) from error


def _require_same_schedule(run: Path, before: DictConfig, now: DictConfig) -> None:
    """Refuse a raised limit that changes the schedule of γ from the first epoch on.

    scheduler=cosine falls to 0 at trainer.max_epochs; past that epoch it would rise again.
    """
    then, later = (_plain(c, resolve=True) if c else {} for c in (before.scheduler, now.scheduler))
    if then != later:
        changed = next(key for key in later if then.get(key) != later[key])
        raise UserError(
            f"resume={run}: scheduler.{changed} was {then.get(changed)} and would become {later[changed]}: the run has "
            "followed another course of γ from its first epoch on. Start a new run with the new limit."
        )


def _plain(config: DictConfig, resolve: bool = False) -> dict[str, Any]:
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=resolve, enum_to_str=True))


def _root_paths(composed: DictConfig, started_in: Path) -> None:
    """Make paths absolute that are relative to the folder where the run was started; it may be resumed elsewhere."""
    for key, path in absolute_paths(composed.data, started_in).items():
        composed.data[key] = path
    for section, key in ((composed.vectors, "path"), (composed, "refit_from")):
        if key in section and section[key] is not None:  # each option of vectors has its own keys
            section[key] = str(started_in / Path(section[key]).expanduser())
    for section in (composed.vectors, composed.captioner):
        model = None if "model" not in section else section.model
        if model is not None and (folder := started_in / Path(model).expanduser()).is_dir():  # else an id on the hub
            section.model = str(folder)
