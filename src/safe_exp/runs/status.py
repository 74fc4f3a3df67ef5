"""status.json: the state of a job, and the reason for its end.

Only light imports stand here: the record is opened before torch is loaded, so that a job that fails while loading it
is recorded too.
"""

import json
import os
import socket
import traceback
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from safe_exp.runs.sigterm import SIGTERM_EXIT
from safe_exp.system.errors import UserError
from safe_exp.system.files import write_json
from safe_exp.system.versions import running_code

EXIT_CODES = {"finished": 0, "failed": 1, "running": 1, "interrupted": 130}  # 130: what a shell reports after Ctrl-C
LOST_PEER = "another process of this job is gone"  # begins the reason
REQUEUED_EXIT = -1  # submitit's, once it has put the job back into the queue of the cluster
REQUEUED = "stopped by the cluster, and queued again"


class JobRecord:
    """The state of one job in its folder's status.json: running, then finished, failed or interrupted.

    A job that is killed outright leaves `running` behind; its host and pid tell whether it still is.

    Args:
        folder: gets status.json; made if it is missing.
        command: the command line of the job.
        code: the result of `running_code`, where many records are opened at once; None: computed here.
    """

    def __init__(self, folder: Path, command: str, code: dict[str, Any] | None = None) -> None:
        self.path = Path(folder) / "status.json"
        self._before = _read(self.path)
        self._content: dict[str, Any] = {
            "state": "running",
            "reason": None,
            "command": command,
            "started": _now(),
            "ended": None,
            "resumed": _times_resumed(self.path),
            **(code or running_code()),
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        write_json(self.path, self._content)

    @property
    def state(self) -> str:
        return self._content["state"]

    @property
    def exit_code(self) -> int:
        """The job's exit code: 0 for a finished job and for no other; one that was never closed counts as failed."""
        return EXIT_CODES[self.state]

    @property
    def reason(self) -> str | None:
        return self._content["reason"]

    def finished(self) -> None:
        """Record the end of a job that has done all its work."""
        self._content |= {"state": "finished", "ended": _now()}
        write_json(self.path, self._content)

    def failed(self, error: BaseException) -> None:
        """Record the reason of an early end: a user's message, an interruption, or a fault with its traceback.

        A finished run whose results are still there was not changed, as by a refused `resume=`: it stays finished.
        """
        self._content |= _ending(error)
        if self._before.get("state") == "finished" and self.path.with_name("metrics.json").exists():
            with suppress(OSError):
                write_json(self.path, self._before)
            return
        stored = _read(self.path)
        if is_lost_peer(error) and stored.get("process"):
            self._content = stored  # the other process has recorded the cause; that it is gone is its echo
            return
        with suppress(OSError):  # a full disk may be the very error; raising here would hide it
            write_json(self.path, self._content)


def record_process_failure(folder: Path, error: BaseException, process: int) -> None:
    """Record the reason for which a further process of a job failed.

    The first process only sees that the other one is gone, or is killed meanwhile.

    Args:
        process: its number in the job, from 1.
    """
    path = Path(folder) / "status.json"
    content = _read(path)
    waits_for_a_cause = content.get("state") == "running" or str(content.get("reason")).startswith(LOST_PEER)
    if _is_interruption(error) or is_lost_peer(error) or not waits_for_a_cause:
        return
    ending = _ending(error)
    with suppress(OSError):
        write_json(path, content | ending | {"reason": f"in process {process}: {ending['reason']}", "process": process})


def record_gone(folder: Path, reason: str) -> None:
    """Record that a running job's process was killed before it could record it; any other state stays as it is."""
    path = Path(folder) / "status.json"
    content = _read(path)
    if content.get("state") == "running":
        write_json(path, content | {"state": "interrupted", "reason": reason, "ended": _now()})


def _ending(error: BaseException) -> dict[str, Any]:
    """Describe an early end by the keys of status.json that it sets."""
    if _is_interruption(error):
        ending = {"state": "interrupted", "reason": _interruption_reason(error)}
    elif isinstance(error, UserError):
        ending = {"state": "failed", "reason": _printable(str(error))}
    else:
        reason = _printable("".join(traceback.format_exception_only(error)).strip())
        ending = {
            "state": "failed",
            "reason": f"{LOST_PEER} ({reason})" if is_lost_peer(error) else reason,
            "traceback": _printable("".join(traceback.format_exception(error))),
        }
    return ending | {"ended": _now()}


def is_lost_peer(error: BaseException) -> bool:
    """Tell whether an exchange between processes failed, which is the echo of a failure in another one."""
    # gloo raises a bare RuntimeError: only its message tells.
    text = f"{type(error).__name__} {error}".lower()
    return isinstance(error, RuntimeError) and any(word in text for word in ("gloo", "nccl", "distbackend", "by peer"))


def _read(path: Path) -> dict[str, Any]:
    """Read a status.json; empty where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _times_resumed(path: Path) -> int:
    """Count the jobs that have worked in this folder before: 0 for a new one."""
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["resumed"]) + 1
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError):  # a status.json that is not ours; a job was here all the same
        return 1


def _is_interruption(error: BaseException) -> bool:
    if isinstance(error, KeyboardInterrupt):
        return True
    if not isinstance(error, SystemExit):
        return False
    # Lightning turns Ctrl-C into exit(1) and SIGTERM into a SystemExit of its own without a code.
    return error.code in (None, 0, SIGTERM_EXIT, REQUEUED_EXIT) or isinstance(error.__context__, KeyboardInterrupt)


def _interruption_reason(error: BaseException) -> str:
    if isinstance(error, SystemExit) and error.code == REQUEUED_EXIT:
        return REQUEUED
    keyboard = isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)
    return "interrupted from the keyboard" if keyboard else "told to stop (SIGTERM)"


def _printable(text: str) -> str:
    """Replace the lone surrogates that stand for undecodable bytes in a path: UTF-8 cannot hold them."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
