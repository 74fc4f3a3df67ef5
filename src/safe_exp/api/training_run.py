"""TrainingRun: one run of train, made by the command itself in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, open_dict

from safe_exp.api.composing import compose_command, write_override
from safe_exp.config import typed_config
from safe_exp.runs.own_command import stop
from safe_exp.runs.own_yaml import split_config_dir
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path

if TYPE_CHECKING:
    from safe_exp.api.trained_model import TrainedModel

KEPT_LINES = 50  # of what the command prints, for the message of one that fails
FOLDER = "hydra.run.dir"


@dataclass(frozen=True)
class TrainingRun:
    """A run that has finished."""

    folder: Path  # as the command made it: .hydra/, checkpoints/, artifacts/, metrics.json, status.json, …

    @property
    def metrics(self) -> dict[str, Any]:
        """Figures of the run, as in its metrics.json.

        Raises:
            UserError: the file is damaged.
        """
        from safe_exp.api.trained_model import read_metrics

        return read_metrics(self.folder)

    def load(self, checkpoint: str = "best", **settings: Any) -> TrainedModel:
        """Load the trained model, see `safe_exp.load`."""
        from safe_exp.api.trained_model import load

        return load(self.folder, checkpoint, **settings)


def train(
    overrides: Sequence[str] = (), *, folder: str | PathLike[str] | None = None, show: bool = True
) -> TrainingRun:
    """Train one run, as `python -m safe_exp.train` with these overrides does, and wait for its end.

    The command runs in a process of its own: it leaves no seed, thread, log handler or signal handler behind here, and
    several devices work as they do from a shell. A wrong override is refused before it starts. Ctrl-C stops the
    training as it does there, and `resume=` goes on with it.

    Args:
        overrides: as on the command line, without quotation marks for a shell; --config-dir=DIR may be among them.
        folder: the run folder; None: outputs/<date>/<time>.
        show: print what the command prints, line by line.
    Raises:
        UserError: an override cannot be used, or the training failed; the message is the reason in its status.json.
        KeyboardInterrupt: on Ctrl-C, when the command has stopped.
    """
    given = list(overrides)
    if isinstance(overrides, str) or not all(isinstance(each, str) for each in given):
        raise TypeError('overrides: expected a list of strings, as in ["trainer.max_epochs=2"].')
    others = split_config_dir(given)[1]
    if flag := next((each for each in others if each.startswith(("-", "resume_sweep="))), None):
        raise UserError(f"{flag}: train makes one run. A sweep is a command: python -m safe_exp.train -m …")
    if folder is not None:
        given.append(write_override(FOLDER, folder))
    composed = compose_command("train", given, with_hydra=True)
    run = _choose_folder(composed, given)
    code, printed, pid = _run([sys.executable, "-m", "safe_exp.train", *given], show)
    if code:
        raise UserError(_explain(run, code, printed, pid))
    return TrainingRun(run)


def _choose_folder(composed: DictConfig, given: list[str]) -> Path:
    """Check the config, and return the run folder; a new one is given to the command, which would name it by its time.

    Raises:
        UserError: a value cannot be used.
    """
    run = Path(str(composed.hydra.run.dir)).absolute()
    with open_dict(composed):
        del composed["hydra"]
    typed_config(composed)
    if composed.resume is None and not any(each.partition("=")[0] == FOLDER for each in given):
        given.append(write_override(FOLDER, short_path(run)))
    return run


def _run(command: list[str], show: bool) -> tuple[int, list[str], int]:
    """Run a command: its exit code, the last lines that it printed, and its process id."""
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:replace", "PYTHONUNBUFFERED": "1"}
    printed: list[str] = []
    # Through a pipe, since a notebook shows what Python prints and not what its process writes. In a session of its
    # own, so that Ctrl-C, which reaches all processes of a terminal, is passed on once.
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                printed = [*printed[1 - KEPT_LINES :], line]
                if show:
                    print(line, end="", flush=True)
            process.wait()
        except BaseException:
            stop(process, signal.SIGINT)
            if show:
                print(process.stdout.read(), end="", flush=True)  # the command that resumes the run
            raise
    return process.returncode, printed, process.pid


def _explain(run: Path, code: int, printed: list[str], pid: int) -> str:
    """Return the reason for which a command failed: that of its status.json, or the last line that it printed."""
    try:
        status = json.loads((run / "status.json").read_text(encoding="utf-8"))
        if status["pid"] == pid and status["reason"]:
            return str(status["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # it ended before there was a job
    last = next((line.strip() for line in reversed(printed) if line.strip()), "")
    return last or f"python -m safe_exp.train ended with code {code}."
