"""One job of a command: its folder, its status.json, its log file, and the config it runs with."""

from __future__ import annotations

import json
import logging
import math
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from safe_exp.errors import UserError
from safe_exp.files import short_path, whole_file
from safe_exp.status import SIGTERM_EXIT, JobRecord, is_lost_peer, record_process_failure

log = logging.getLogger(__name__)

ADDITIONS = Path(".hydra", "added.yaml")  # what later resumes have added to the overrides, trainer.max_epochs=… say
RESUME_FOLDER = ".hydra/resumed"  # where Hydra notes the command that resumed a run; .hydra itself stays as it was

ENDED_WITHIN_EPOCH = (
    "was ended within an epoch (by trainer.max_steps or trainer.max_time), so it cannot be trained further. "
    "Start a new run with the higher limit: under the same seed it takes the same steps."
)


LOCK = ".lock"  # held by the process that works in a folder; the system lets go of it when the process ends


def register_resolvers() -> None:
    """What conf/ needs: the folder of a resumed run, and weights that add up to 1 (conf/sweep/alpha.yaml)."""
    OmegaConf.register_new_resolver("one_minus", lambda value: round(1 - float(value), 12), replace=True)
    OmegaConf.register_new_resolver("made_folder", _made_folder, replace=True)
    OmegaConf.register_new_resolver("run_folder", lambda resume, new: resume if _is_run(resume) else new, replace=True)
    OmegaConf.register_new_resolver(
        "hydra_folder", lambda resume: RESUME_FOLDER if _is_run(resume) else ".hydra", replace=True
    )


def _made_folder(path: str) -> str:
    """A folder for a data base, which must be there before the sweeper makes it."""
    Path(path).mkdir(parents=True, exist_ok=True)
    return path


def _is_run(resume: str | None) -> bool:
    # A mistyped resume must not make a folder of that name, nor turn some other folder into a run.
    return bool(resume) and (Path(resume) / ".hydra" / "overrides.yaml").is_file()


def is_first_process() -> bool:
    """False in the further processes of a DDP job, which must leave the run folder to the first one."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0 and int(os.environ.get("SLURM_PROCID", 0)) == 0


@contextmanager
def recorded_job(folder: Path) -> Iterator[None]:
    """Keep status.json and logs/ of a job: running from the first second, then finished, failed or interrupted."""
    if not is_first_process():
        try:
            yield
        except BaseException as error:
            record_process_failure(folder, error, int(os.environ.get("LOCAL_RANK") or os.environ["SLURM_PROCID"]))
            raise
        return
    with _only_process(folder), _recorded(folder):
        yield


@contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    """Refuse a folder in which another process works: two would write over each other's checkpoints and status."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"{short_path(folder)}: another process is working in this run folder; its status.json says which. Wait "
            "until it has ended, or stop it, and give the command again."
        ) from error
    except (OSError, NotImplementedError):  # no locks on this file system; then nobody can hold one
        log.debug("No lock could be taken on %s.", folder, exc_info=True)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _recorded(folder: Path) -> Iterator[None]:
    record = JobRecord(folder, command=shlex.join([sys.executable, "-m", *_command()]))
    with _log_file(folder / "logs" / "run.log"), _sigterm_as_exit():
        try:
            yield
        except BaseException as error:  # Ctrl-C is a verdict too
            record.failed(error)  # Hydra prints only a sweep's first error, and only at its end
            log.debug("The job ended early.", exc_info=not isinstance(error, UserError))
            if record.state == "interrupted":
                log.warning("%s", _interruption_note(folder, record))
            if isinstance(error, KeyboardInterrupt):
                raise SystemExit(record.exit_code) from None  # a traceback would only hide the line above
            if is_lost_peer(error):
                raise UserError(f"Stopped: {record.reason}.") from error  # the traceback is in logs/run.log
            raise
        record.finished()


def _interruption_note(folder: Path, record: JobRecord) -> str:
    command = _command()[0]
    if command != "safe_exp.train":
        return f"Stopped ({record.reason})."
    run = shlex.quote(str(short_path(folder)))
    return f"Stopped ({record.reason}). To go on from the last epoch:  python -m {command} resume={run}"


def job_name(folder: Path) -> str:
    """What tells this job from its neighbours: the overrides it started with, or the date and time of its folder."""
    start = _start(folder)
    overrides = [o for o in start.overrides.task if not o.startswith(("data.root=", "resume="))]
    return " ".join(overrides) or "-".join(Path(start.runtime.output_dir).parts[-2:])


def sweep_name(folder: Path) -> str | None:
    """The sweep's folder name for a job that started in a multirun, else None."""
    start = _start(folder)
    if start.mode not in ("MULTIRUN", RunMode.MULTIRUN):
        return None
    depth = len(Path(OmegaConf.to_container(start.sweep, resolve=False)["subdir"]).parts)
    return "-".join(Path(start.runtime.output_dir).parents[depth - 1].parts[-2:])


def _start(folder: Path) -> DictConfig:
    """Hydra's own config as it was when the run in `folder` was started, whatever command resumes it now."""
    stored = folder / ".hydra" / "hydra.yaml"
    return OmegaConf.load(stored).hydra if stored.exists() else HydraConfig.get()


def resumed_config(run: Path, config_name: str) -> DictConfig:
    """The config of the stopped run in `run`, composed again from the overrides it was started with.

    Raises:
        UserError: it is no run folder, it has finished, the new command changes more than `trainer.*`, or conf/ no
            longer gives the values that the run started with. The run's own status is left as it is.
    """
    config = HydraConfig.get()
    if config.mode.name == "MULTIRUN":
        raise UserError("resume continues one run, so it cannot be swept over; leave out -m.")
    hydra_folder = run / ".hydra"
    if not _is_run(str(run)):
        raise UserError(f"resume={run}: there is no run in this folder (.hydra/overrides.yaml is missing).")
    added = _additions()
    changes = [override for override in added if not override.startswith("trainer.")]
    if changes:
        raise UserError(
            f"resume={run} goes on with the run's own settings, so {' '.join(changes)} cannot be given with it; only "
            "trainer.… can (more epochs, say). Start a new run instead."
        )
    overrides, kept = list(OmegaConf.load(hydra_folder / "overrides.yaml")), _kept_additions(run)
    now = _merged(kept, added)
    before, composed = (compose(config_name, overrides=[*overrides, *later]) for later in (kept, now))
    if (run / "metrics.json").exists():
        _require_raised_limit(run, before, composed)
    _require_same_schedule(run, before, composed)
    _require_same_values(run, composed, OmegaConf.load(hydra_folder / "config.yaml"), now)
    _root_paths(composed, Path(OmegaConf.load(hydra_folder / "hydra.yaml").hydra.runtime.cwd))
    composed.resume = str(run)
    return composed


def train_further(run: Path) -> None:
    """From here on the resumed run is one that trains: what this command added holds for later resumes too."""
    # The figures of a run that had finished go first. Killed between the two, it is a run that has ended.
    (run / "metrics.json").unlink(missing_ok=True)
    if _additions():
        with whole_file(run / ADDITIONS) as draft:
            OmegaConf.save(OmegaConf.create(_merged(_kept_additions(run), _additions())), draft)


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
    if json.loads((run / "metrics.json").read_text(encoding="utf-8")).get("ended_within_epoch"):
        raise UserError(f"resume={run}: this run {ENDED_WITHIN_EPOCH}")


def _require_same_schedule(run: Path, before: DictConfig, now: DictConfig) -> None:
    """scheduler=cosine falls to 0 at trainer.max_epochs; past that epoch it would rise again."""
    then, later = ((OmegaConf.to_container(c, resolve=True) if c else {}) for c in (before.scheduler, now.scheduler))
    if then != later:
        changed = next(key for key in later if then.get(key) != later[key])
        raise UserError(
            f"resume={run}: scheduler.{changed} was {then.get(changed)} and would become {later[changed]}: the run has "
            "followed another course of γ from its first epoch on. Start a new run with the new limit."
        )


def _require_same_values(run: Path, composed: DictConfig, stored: DictConfig, added: list[str]) -> None:
    given = {override.split("=")[0] for override in added}
    now, then = _flat(composed), _flat(stored)
    changed = sorted(key for key in now.keys() | then.keys() if key not in given and now.get(key) != then.get(key))
    if changed:
        key = changed[0]
        raise UserError(
            f"resume={run}: the run started with {key}={then.get(key)}, and conf/ now gives {now.get(key)} "
            f"({len(changed)} such difference{'s' * (len(changed) > 1)}). Bring conf/ back, or start anew."
        )


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    container = OmegaConf.to_container(config, resolve=False, enum_to_str=True) if prefix == "" else config
    flat = {}
    for key, value in container.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _root_paths(composed: DictConfig, started_in: Path) -> None:
    """Paths were given relative to where the run was started, which need not be where it is resumed."""
    for section, key in (("data", "root"), ("data", "prepared"), ("data", "images"), ("vectors", "path")):
        if composed[section].get(key) is not None:
            composed[section][key] = str(started_in / composed[section][key])
    model = composed.captioner.get("model")
    if model is not None and (started_in / model).is_dir():  # else an id on the model hub
        composed.captioner.model = str(started_in / model)


def _command() -> list[str]:
    module = Path(sys.argv[0])
    return [f"{module.parent.name}.{module.stem}", *sys.argv[1:]]


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Copy what is logged into the run folder, with times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.DEBUG)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Let SIGTERM (a cluster's way of ending a job) unwind like Ctrl-C, so that the status says what happened."""
    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield
        return

    def leave(*_: Any) -> None:
        raise SystemExit(SIGTERM_EXIT)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
