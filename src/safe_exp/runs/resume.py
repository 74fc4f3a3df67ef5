"""Going on with a stopped run, or training one that has ended further: with what config, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from safe_exp.runs.folder import is_run
from safe_exp.runs.settings import require_same_settings
from safe_exp.system.errors import UserError, first_line
from safe_exp.system.files import whole_file

ADDITIONS = Path(".hydra", "added.yaml")  # what later resumes have added to the overrides, trainer.max_epochs=… say

ENDED_WITHIN_EPOCH = (
    "was ended within an epoch (by trainer.max_steps or trainer.max_time), so it cannot be trained further. "
    "Start a new run with the higher limit: under the same seed it takes the same steps."
)


def resumed_config(run: Path, config_name: str) -> DictConfig:
    """The config of the stopped run in `run`, composed again from the overrides it was started with.

    Raises:
        UserError: it is no run folder, it has finished, the new command changes more than `trainer.*`, or conf/ no
            longer gives the values that the run started with. The run's own status is left as it is.
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
    stored = _stored(run)
    overrides, kept = list(stored["overrides"]), _kept_additions(run)
    now = _merged(kept, added)
    before, composed = (compose(config_name, overrides=[*overrides, *later]) for later in (kept, now))
    if (run / "metrics.json").exists():
        _require_raised_limit(run, before, composed)
    _require_same_schedule(run, before, composed)
    given = {override.split("=")[0] for override in now}
    require_same_settings(f"resume={run}", "run", _plain(stored["config"]), _plain(composed), given)
    _root_paths(composed, Path(stored["hydra"].hydra.runtime.cwd))
    composed.resume = str(run)
    return composed


def train_further(run: Path) -> None:
    """From here on the resumed run is one that trains: what this command added holds for later resumes too."""
    from safe_exp.scoring.calibration import FILE  # scipy takes its time, and --help needs none of it

    # The figures of a run that had finished go first. Killed between the two, it is a run that has ended.
    (run / "metrics.json").unlink(missing_ok=True)
    (run / "artifacts" / FILE).unlink(missing_ok=True)  # of a checkpoint that may soon not be the best one
    if _additions():
        with whole_file(run / ADDITIONS) as draft:
            OmegaConf.save(OmegaConf.create(_merged(_kept_additions(run), _additions())), draft)


def _stored(run: Path) -> dict[str, Any]:
    """What Hydra noted when the run was started, by name."""
    found = {}
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
    return found


def _additions() -> list[str]:
    return [o for o in HydraConfig.get().overrides.task if not o.lstrip("+").startswith("resume=")]


def _kept_additions(run: Path) -> list[str]:
    return list(OmegaConf.load(run / ADDITIONS)) if (run / ADDITIONS).exists() else []


def _merged(kept: list[str], added: list[str]) -> list[str]:
    """One override for each key, the later one."""
    return list({override.partition("=")[0]: override for override in [*kept, *added]}.values())


def _require_raised_limit(run: Path, before: DictConfig, now: DictConfig) -> None:
    """A run that has finished is trained further only when there is something to train."""

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
        return bool(json.loads((run / "metrics.json").read_text(encoding="utf-8")).get("ended_within_epoch"))
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"resume={run}: metrics.json cannot be read ({error}). Remove it, and the figures are made anew from the "
            "last checkpoint."
        ) from error


def _require_same_schedule(run: Path, before: DictConfig, now: DictConfig) -> None:
    """scheduler=cosine falls to 0 at trainer.max_epochs; past that epoch it would rise again."""
    then, later = ((OmegaConf.to_container(c, resolve=True) if c else {}) for c in (before.scheduler, now.scheduler))
    if then != later:
        changed = next(key for key in later if then.get(key) != later[key])
        raise UserError(
            f"resume={run}: scheduler.{changed} was {then.get(changed)} and would become {later[changed]}: the run has "
            "followed another course of γ from its first epoch on. Start a new run with the new limit."
        )


def _plain(config: Any) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=False, enum_to_str=True)


def _root_paths(composed: DictConfig, started_in: Path) -> None:
    """Paths were given relative to where the run was started, which need not be where it is resumed."""
    for section, key in (("data", "root"), ("data", "prepared"), ("data", "images"), ("vectors", "path")):
        if composed[section].get(key) is not None:
            composed[section][key] = str(started_in / composed[section][key])
    model = composed.captioner.get("model")
    if model is not None and (started_in / model).is_dir():  # else an id on the model hub
        composed.captioner.model = str(started_in / model)
