"""One job of a command: its folder, its status.json, its log file, and the config it runs with."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from safe_exp.runs.processes import in_multirun, is_first_process, process_number
from safe_exp.runs.status import SIGTERM_EXIT, JobRecord, is_lost_peer, record_process_failure
from safe_exp.system.errors import UnwritableFile, UserError
from safe_exp.system.files import NO_ROOM_ERRNOS, short_path
from safe_exp.system.lock import LOCK_NAME, locked

log = logging.getLogger(__name__)


def is_run(resume: str | None) -> bool:
    # A mistyped resume must not make a folder of that name, nor turn some other folder into a run. Hydra writes this
    # file last; it is empty when the run was killed at that moment, before it had begun.
    overrides = Path(resume or "") / ".hydra" / "overrides.yaml"
    return bool(resume) and overrides.is_file() and overrides.stat().st_size > 0


def require_new_folder(folder: Path) -> None:
    """Refuse to start where another run lies, be it running or not: it would lose its settings and its results."""
    # A sweep's job that is a command of its own is given no place for Hydra's notes; it belongs where it is.
    if HydraConfig.get().output_subdir is not None and is_taken(folder):
        name = short_path(folder)
        raise UserError(
            f"{name}: a run lies in this folder already; its status.json says what it is. To go on with it: "
            f"{_resume_command(folder)}. For another run give another hydra.run.dir."
        )


def is_taken(folder: Path) -> bool:
    # A sweep comes back to the folders of its jobs, and looks after them itself.
    single = HydraConfig.initialized() and not in_multirun()
    return single and is_first_process() and is_run(str(folder)) and (folder / "status.json").exists()


@contextmanager
def recorded_job(folder: Path) -> Iterator[None]:
    """Keep status.json and logs/ of a job: running from the first second, then finished, failed or interrupted."""
    with only_process(folder), recorded(folder):
        yield


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Refuse a folder in which another process works: two would write over each other's checkpoints and status."""
    if not is_first_process():  # the first one of this job holds it
        yield
        return
    refusal = (
        f"{short_path(folder)}: another process is working in this run folder; its status.json says which. Wait until "
        "it has ended, or stop it, and give the command again."
    )
    with _said_of_the_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK_NAME, refusal, refuse=True):
            yield


@contextmanager
def _said_of_the_disk(folder: Path) -> Iterator[None]:
    """What a full disk makes of a library's write, as one message."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno not in NO_ROOM_ERRNOS:
            raise
        raise UnwritableFile(error.errno, error.strerror, short_path(error.filename or folder)) from error


@contextmanager
def recorded(folder: Path) -> Iterator[None]:
    """Keep status.json and logs/ of a job in a folder that is already this process's own."""
    if not is_first_process():
        try:
            yield
        except BaseException as error:
            record_process_failure(folder, error, process_number())
            raise
        return
    record = JobRecord(folder, command=command_line())
    with log_file(folder), sigterm_as_exit():
        try:
            yield
        except BaseException as error:  # Ctrl-C is a verdict too
            record.failed(error)  # Hydra prints only a sweep's first error, and only at its end
            log.debug("The job ended early.", exc_info=not isinstance(error, UserError))
            if record.state == "interrupted":
                log.warning("%s", interruption_note(folder, record))
            elif in_multirun() and not isinstance(error, KeyboardInterrupt):  # Hydra is silent until the sweep's end
                log.error("Failed: %s", next(iter(str(record.reason).splitlines()), ""))
            if isinstance(error, OSError) and error.errno in NO_ROOM_ERRNOS and _command()[0] == "safe_exp.train":
                log.warning("When there is room:  %s", _resume_command(folder))
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
    return f"Stopped ({record.reason}). To go on from the last epoch:  {_resume_command(folder)}"


def _resume_command(folder: Path) -> str:
    return f"python -m safe_exp.train resume={shlex.quote(str(short_path(folder)))}"


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
    handler = _QuietFileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.DEBUG)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        with suppress(OSError):  # what is left to be written finds no room
            handler.close()


class _QuietFileHandler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk costs the file its lines; the terminal has them, and a traceback for each would bury them."""


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
