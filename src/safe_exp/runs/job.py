"""A job of a command from start to end: its folder locked, its status.json and its log kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safe_exp.runs.command_line import command_line, command_module, resume_command
from safe_exp.runs.folder import locked_folder
from safe_exp.runs.log_file import log_file
from safe_exp.runs.processes import in_multirun, is_first_process, process_number
from safe_exp.runs.requeue import requeued_when_stopped
from safe_exp.runs.sigterm import sigterm_as_exit
from safe_exp.runs.status import REQUEUED, JobRecord, is_lost_peer, record_process_failure
from safe_exp.system.errors import UserError
from safe_exp.system.files import NO_ROOM_ERRNOS

log = logging.getLogger(__name__)


@contextmanager
def recorded_job(folder: Path) -> Iterator[None]:
    """Lock the folder, and keep status.json and logs/run.log of the job that runs in the block.

    Raises:
        UserError: another process works in the folder, the disk has no room, or another process of this job is gone.
        SystemExit: after Ctrl-C or SIGTERM, with the exit code of an interrupted job.
    """
    with locked_folder(folder), recorded(folder):
        yield


@contextmanager
def recorded(folder: Path) -> Iterator[None]:
    """Keep status.json and logs/run.log of a job whose folder this process has locked.

    The state is running from the first second, then finished, failed or interrupted. Further processes of the job only
    add the reason of their failure.

    Raises:
        UserError: another process of this job is gone.
        SystemExit: after Ctrl-C or SIGTERM, with the exit code of an interrupted job.
    """
    if not is_first_process():
        try:
            yield
        except BaseException as error:
            record_process_failure(folder, error, process_number())
            raise
        return
    record = JobRecord(folder, command=command_line())
    with log_file(folder), sigterm_as_exit(), requeued_when_stopped():
        try:
            yield
        except BaseException as error:  # Ctrl-C ends a job too
            record.failed(error)  # Hydra prints only a sweep's first error, and only at its end
            log.debug("The job ended early.", exc_info=not isinstance(error, UserError))
            if record.state == "interrupted":
                log.warning("%s", interruption_note(folder, record))
            elif in_multirun() and not isinstance(error, KeyboardInterrupt):  # Hydra is silent until the sweep's end
                log.error("Failed: %s", next(iter(str(record.reason).splitlines()), ""))
            if isinstance(error, OSError) and error.errno in NO_ROOM_ERRNOS and command_module() == "safe_exp.train":
                log.warning("When there is room:  %s", resume_command(folder))
            if isinstance(error, KeyboardInterrupt):
                raise SystemExit(record.exit_code) from None  # a traceback would only hide the line above
            if is_lost_peer(error):
                raise UserError(f"Stopped: {record.reason}.") from error  # the traceback is in logs/run.log
            raise
        record.finished()


def interruption_note(folder: Path, record: JobRecord) -> str:
    """Say why a job was interrupted and, of a training run, how to resume it."""
    if record.reason == REQUEUED:
        return "Stopped by the cluster, and queued again. The job goes on from its last epoch when it is started again."
    if command_module() != "safe_exp.train":
        return f"Stopped ({record.reason})."
    return f"Stopped ({record.reason}). To go on from the last epoch:  {resume_command(folder)}"
