"""A job that SLURM stops before its end, and that goes on later: preempted, or at its time limit.

submitit asks SLURM to put the job back into its queue when a signal announces the end (USR2, hydra.launcher
.signal_delay_s before the time limit). The job comes back to its folder, and goes on from its last epoch.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from safe_exp.system.errors import UserError

log = logging.getLogger(__name__)

SCONTROL_TIMEOUT_SECONDS = 10


@contextmanager
def requeued_when_stopped() -> Iterator[None]:
    """Within the block, let the signals that announce the end of a job of submitit queue it again.

    Two things are left to do beside submitit's own handling. SLURM answers the request with SIGTERM, which must not
    interrupt the writing of status.json. And a preempted job gets SIGTERM alone if its partition has a grace time: it
    must ask for the queue itself, or it would end with its process.

    Does nothing outside a job of submitit, and outside the main thread.

    Raises:
        SystemExit: with status.REQUEUED_EXIT, once the job is in the queue again.
        UserError: the job has reached its time limit too many times.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    # Elsewhere the signal is not even looked up: Windows has no USR2.
    queue_again = signal.getsignal(_announcement()) if "SUBMITIT_EXECUTOR" in os.environ else None
    if not in_main_thread or not callable(queue_again):
        yield
        return
    stop = signal.getsignal(signal.SIGTERM)
    announced = threading.Event()

    def on_announcement(number: int, frame: Any) -> None:
        announced.set()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Lightning acts on it too; it will bring back on_sigterm
        try:
            queue_again(number, frame)
        except Exception as error:  # submitit's own
            raise UserError(
                f"SLURM stopped the job, and it was not queued again ({str(error).rstrip('.')}). Raise "
                "hydra.launcher.timeout_min or hydra.launcher.max_num_timeout; a resume goes on from the last epoch."
            ) from error

    def on_sigterm(number: int, frame: Any) -> None:
        if announced.is_set():
            return
        if _is_in_grace_time():
            on_announcement(_announcement(), frame)
        if callable(stop):
            stop(number, frame)

    signal.signal(_announcement(), on_announcement)
    signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        signal.signal(_announcement(), queue_again)
        if signal.getsignal(signal.SIGTERM) is on_sigterm:
            signal.signal(signal.SIGTERM, stop)


def _announcement() -> signal.Signals:
    """Return the signal that submitit lets SLURM send ahead of the time limit."""
    return signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]


def _is_in_grace_time() -> bool:
    """Tell whether SLURM lets this job run on for a while after it was preempted.

    Without a grace time SLURM puts the job back itself. A job that its user cancels is no longer running.
    """
    command = ["scontrol", "show", "job", os.environ.get("SLURM_JOB_ID", ""), "--oneliner"]
    try:
        shown = subprocess.run(
            command, capture_output=True, text=True, timeout=SCONTROL_TIMEOUT_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    fields = dict(re.findall(r"(\S+?)=(\S*)", shown))
    return fields.get("JobState") == "RUNNING" and fields.get("PreemptTime", "None") != "None"
