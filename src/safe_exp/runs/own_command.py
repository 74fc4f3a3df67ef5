"""A job of a sweep as a command of its own, for jobs of several processes.

Lightning starts the further processes of a DDP job by running this process's command line again, which in a multirun
would be the whole sweep; and when one of them fails it kills this process (SIGKILL), which would be the sweep too. So
such a job is started as a user would start it alone, into the job's folder.
"""

from __future__ import annotations

import logging
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from safe_exp.runs.own_yaml import FLAG_PROVIDER
from safe_exp.runs.sigterm import sigterm_as_exit
from safe_exp.runs.status import EXIT_CODES
from safe_exp.system.errors import UserError

log = logging.getLogger(__name__)

STOP_TIMEOUT_SECONDS = 30  # for a job that is told to stop, before it is killed


def run_as_its_own_command(composed: DictConfig, folder: Path) -> float:
    """Run this job of a sweep in `folder` as a command of its own; return the score that the sweep compares.

    The command keeps status.json and everything else in the folder. When this process is told to stop, so is the
    command, and it is waited for: its status.json then holds the reason.

    Raises:
        UserError: the job did not finish; the message is the reason in its status.json.
        SystemExit: after Ctrl-C or SIGTERM.
    """
    from safe_exp.runs.devices import devices_of_its_own  # torch takes seconds to import

    with devices_of_its_own(composed.trainer) as devices:
        command = _command(folder, devices)
        log.debug("%s", shlex.join(command))
        # In a session of its own: Ctrl-C in a terminal reaches all processes of the foreground, and a second signal
        # while the first is being handled would leave a status.json without a reason.
        process = subprocess.Popen(command, cwd=HydraConfig.get().runtime.cwd, start_new_session=True)
        try:
            with sigterm_as_exit():
                process.wait()
        except KeyboardInterrupt:
            stop(process, signal.SIGINT)
            raise SystemExit(EXIT_CODES["interrupted"]) from None
        except BaseException:
            stop(process, signal.SIGTERM)
            raise
    return _read_score(composed, folder)


def _command(folder: Path, devices: list[int] | None) -> list[str]:
    """Build the command of this job alone, from Hydra's config of the sweep."""
    config = HydraConfig.get()
    # conf/ in the working folder is found again, since the command starts there.
    found = {source.path: None for source in config.runtime.config_sources if source.provider == FLAG_PROVIDER}
    return [
        sys.executable, "-m", "safe_exp.train", "--config-name", str(config.job.config_name),
        *(flag for path in found for flag in ("--config-dir", path)),
        *config.overrides.task,
        *([f"trainer.devices={devices}".replace(" ", "")] if devices else []),
        f"hydra.run.dir={_quoted(folder)}",
        "hydra.output_subdir=null",  # .hydra/ is there already, and tells that the job belongs to a sweep
        "hydra.mode=RUN",  # a sweep=… among the overrides would make it a multirun
    ]  # fmt: skip


def _quoted(path: Path) -> str:
    """Quote a path for Hydra's grammar of overrides."""
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def stop(process: subprocess.Popen, how: signal.Signals) -> None:
    """Send a signal and wait for the end; kill the process after STOP_TIMEOUT_SECONDS."""
    process.send_signal(how)
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read_score(composed: DictConfig, folder: Path) -> float:
    """Read the score of the ended job; refuse one that did not finish."""
    from safe_exp.runs.job_outcome import read_job

    job = read_job(folder, 0, [])
    if job.state != "finished":  # a job whose processes were killed counts as interrupted
        raise UserError(f"{job.reason}")
    return job.score(composed.callbacks.monitor)
