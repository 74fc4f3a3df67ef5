"""One job of a command: its folder, its status.json, its log file, and the config it runs with."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from safe_exp.errors import UserError
from safe_exp.status import SIGTERM_EXIT, JobRecord

RESUME_FOLDER = ".hydra/resumed"  # where Hydra notes the command that resumed a run; .hydra itself stays as it was


def register_resolvers() -> None:
    """What conf/hydra/default.yaml needs to send a resumed run back into its own folder."""
    OmegaConf.register_new_resolver("run_folder", lambda resume, new: resume if _is_run(resume) else new, replace=True)
    OmegaConf.register_new_resolver(
        "hydra_folder", lambda resume: RESUME_FOLDER if _is_run(resume) else ".hydra", replace=True
    )


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
        yield
        return
    record = JobRecord(folder, command=shlex.join([sys.executable, "-m", *_command()]))
    with _log_file(folder / "logs" / "run.log"), _sigterm_as_exit():
        try:
            yield
        except BaseException as error:  # Ctrl-C is a verdict too
            record.failed(error)  # Hydra prints only a sweep's first error, and only at its end
            logging.getLogger(__name__).debug("The job ended early.", exc_info=not isinstance(error, UserError))
            raise
        record.finished()


def job_name() -> str:
    """What tells this job from its neighbours: its overrides, or the date and time of its folder."""
    overrides = [o for o in HydraConfig.get().overrides.task if not o.startswith(("data.root=", "resume="))]
    return " ".join(overrides) or "-".join(Path(HydraConfig.get().runtime.output_dir).parts[-2:])


def sweep_name() -> str | None:
    """The sweep's folder name for a job of a multirun, else None."""
    config = HydraConfig.get()
    return "-".join(Path(config.sweep.dir).parts[-2:]) if config.mode.name == "MULTIRUN" else None


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
    added = [override for override in config.overrides.task if not override.lstrip("+").startswith("resume=")]
    changes = [override for override in added if not override.startswith("trainer.")]
    if changes:
        raise UserError(
            f"resume={run} goes on with the run's own settings, so {' '.join(changes)} cannot be given with it; only "
            "trainer.… can (more epochs, say). Start a new run instead."
        )
    if not added and (run / "metrics.json").exists():
        raise UserError(
            f"resume={run}: this run has finished, its figures are in metrics.json. To train it further raise its "
            "limit, as in trainer.max_epochs=100."
        )
    overrides = [*OmegaConf.load(hydra_folder / "overrides.yaml"), *added]
    composed = compose(config_name, overrides=list(overrides))
    _require_same_values(run, composed, OmegaConf.load(hydra_folder / "config.yaml"), added)
    _root_paths(composed, Path(OmegaConf.load(hydra_folder / "hydra.yaml").hydra.runtime.cwd))
    composed.resume = str(run)
    return composed


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
    composed.data.root = str(started_in / composed.data.root)
    if composed.vectors.path is not None:
        composed.vectors.path = str(started_in / composed.vectors.path)


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
