"""A run folder: the test for a run in it, and the lock that keeps a second process out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from safe_exp.runs.command_line import resume_command
from safe_exp.runs.processes import in_multirun, is_first_process
from safe_exp.system.errors import UnwritableFile, UserError
from safe_exp.system.files import NO_ROOM_ERRNOS, short_path
from safe_exp.system.lock import LOCK_NAME, locked


def is_run(folder: str | None) -> bool:
    """Tell whether a run was started in `folder`.

    So a mistyped resume=DIR neither makes a folder of that name nor turns some other folder into a run.
    """
    # Hydra writes this file last; it is empty when the run was killed at that moment, before it had begun.
    overrides = Path(folder or "") / ".hydra" / "overrides.yaml"
    return bool(folder) and overrides.is_file() and overrides.stat().st_size > 0


def is_taken(folder: Path) -> bool:
    """Tell whether a single command would start in the folder of another run, which it would overwrite."""
    # A sweep comes back to the folders of its jobs, and looks after them itself.
    single = HydraConfig.initialized() and not in_multirun()
    return single and is_first_process() and is_run(str(folder)) and (folder / "status.json").exists()


def require_new_folder(folder: Path) -> None:
    """Refuse to start where another run lies, running or not: it would lose its settings and its results.

    Raises:
        UserError: there is a run; the message gives the command that resumes it.
    """
    # A sweep's job that is a command of its own is given no place for Hydra's notes; it belongs where it is.
    if HydraConfig.get().output_subdir is not None and is_taken(folder):
        name = short_path(folder)
        raise UserError(
            f"{name}: a run lies in this folder already; its status.json says what it is. To go on with it: "
            f"{resume_command(folder)}. For another run give another hydra.run.dir."
        )


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make the run folder and hold its lock: two processes would write over each other's checkpoints and status.

    Further processes of the same job take no lock; the first one holds it.

    Raises:
        UserError: another process holds the lock, or the disk has no room (UnwritableFile).
    """
    if not is_first_process():
        yield
        return
    refusal = (
        f"{short_path(folder)}: another process is working in this run folder; its status.json says which. Wait until "
        "it has ended, or stop it, and give the command again."
    )
    with _full_disk_as_message(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK_NAME, refusal, refuse=True):
            yield


@contextmanager
def _full_disk_as_message(folder: Path) -> Iterator[None]:
    """Turn the OSError of a full or read-only disk, which any library may raise, into an UnwritableFile."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno not in NO_ROOM_ERRNOS:
            raise
        raise UnwritableFile(error.errno, error.strerror, short_path(error.filename or folder)) from error
