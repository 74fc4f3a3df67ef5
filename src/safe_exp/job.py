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

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from safe_exp.errors import UserError
from safe_exp.files import short_path
from safe_exp.status import SIGTERM_EXIT, JobRecord, is_lost_peer, record_process_failure

log = logging.getLogger(__name__)

RESUME_FOLDER = ".hydra/resumed"  # where Hydra notes the command that resumed a run; .hydra itself stays as it was

LOCK = ".lock"  # held by the process that works in a folder; the system lets go of it when the process ends


def register_resolvers() -> None:
    """What conf/ needs: the folder of a resumed run, and weights that add up to 1 (conf/sweep/alpha.yaml)."""
    OmegaConf.register_new_resolver("one_minus", lambda value: round(1 - float(value), 12), replace=True)
    OmegaConf.register_new_resolver("made_folder", _made_folder, replace=True)
    OmegaConf.register_new_resolver("run_folder", lambda resume, new: resume if is_run(resume) else new, replace=True)
    OmegaConf.register_new_resolver(
        "hydra_folder", lambda resume: RESUME_FOLDER if is_run(resume) else ".hydra", replace=True
    )


def _made_folder(path: str) -> str:
    """A folder for a data base, which must be there before the sweeper makes it."""
    Path(path).mkdir(parents=True, exist_ok=True)
    return path


def is_run(resume: str | None) -> bool:
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
    with only_process(folder), _recorded(folder):
        yield


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
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
    record = JobRecord(folder, command=command_line())
    with log_file(folder), sigterm_as_exit():
        try:
            yield
        except BaseException as error:  # Ctrl-C is a verdict too
            record.failed(error)  # Hydra prints only a sweep's first error, and only at its end
            log.debug("The job ended early.", exc_info=not isinstance(error, UserError))
            if record.state == "interrupted":
                log.warning("%s", interruption_note(folder, record))
            if isinstance(error, KeyboardInterrupt):
                raise SystemExit(record.exit_code) from None  # a traceback would only hide the line above
            if is_lost_peer(error):
                raise UserError(f"Stopped: {record.reason}.") from error  # the traceback is in logs/run.log
            raise
        record.finished()


def interruption_note(folder: Path, record: JobRecord) -> str:
    command = _command()[0]
    if command != "safe_exp.train":
        return f"Stopped ({record.reason})."
    run = shlex.quote(str(short_path(folder)))
    return f"Stopped ({record.reason}). To go on from the last epoch:  python -m {command} resume={run}"


def job_name(folder: Path) -> str:
    """What tells this job from its neighbours: the overrides it started with, or the date and time of its folder."""
    return name_of_job(_start(folder))


def sweep_name(folder: Path) -> str | None:
    """The sweep's folder name for a job that started in a multirun, else None."""
    return name_of_sweep(_start(folder))


def name_of_job(start: DictConfig) -> str:
    """`job_name`, from Hydra's own config of the job."""
    overrides = [o for o in start.overrides.task if not o.startswith(("data.root=", "resume="))]
    return " ".join(overrides) or "-".join(Path(start.runtime.output_dir).parts[-2:])


def name_of_sweep(start: DictConfig) -> str | None:
    """`sweep_name`, from Hydra's own config of the job."""
    if start.mode not in ("MULTIRUN", RunMode.MULTIRUN):
        return None
    depth = len(Path(OmegaConf.to_container(start.sweep, resolve=False)["subdir"]).parts)
    return "-".join(Path(start.runtime.output_dir).parents[depth - 1].parts[-2:])


def _start(folder: Path) -> DictConfig:
    """Hydra's own config as it was when the run in `folder` was started, whatever command resumes it now."""
    stored = folder / ".hydra" / "hydra.yaml"
    return OmegaConf.load(stored).hydra if stored.exists() else HydraConfig.get()


def _command() -> list[str]:
    module = Path(sys.argv[0])
    return [f"{module.parent.name}.{module.stem}", *sys.argv[1:]]


def command_line() -> str:
    """The command that this process was started with, as a shell would take it."""
    return shlex.join([sys.executable, "-m", *_command()])


@contextmanager
def log_file(folder: Path) -> Iterator[None]:
    """Copy what is logged into the run folder's logs/run.log, with times."""
    path = folder / "logs" / "run.log"
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
def sigterm_as_exit() -> Iterator[None]:
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
