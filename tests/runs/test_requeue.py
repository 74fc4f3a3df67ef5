"""Signals of SLURM in a job of submitit, whose own handler is replaced by one that only counts."""

import os
import signal
from contextlib import contextmanager

import pytest

from safe_exp.runs.job import recorded_job
from safe_exp.system.errors import UserError
from tests.commands import read_json


@pytest.fixture
def submitit(tmp_path, monkeypatch):
    """Pretend to be a job of submitit; return the list of requests for the queue, which each end the process."""
    requests = []

    def queue_again(number, frame):
        requests.append(number)
        os.kill(os.getpid(), signal.SIGTERM)  # SLURM's answer
        raise SystemExit(-1)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
    signal.signal(signal.SIGUSR2, queue_again)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    yield requests
    assert signal.getsignal(signal.SIGUSR2) is queue_again
    assert signal.getsignal(signal.SIGTERM) is before[signal.SIGTERM]
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Let scontrol answer with a line."""

    def show(line):
        program = tmp_path / "bin" / "scontrol"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "show job 7" ] && echo "{line}"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return show


@contextmanager
def lightnings_handlers():
    """Put a handler of its own before the present one, and bring that back when the training is torn down."""
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda number, frame: before(number, frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        os.kill(os.getpid(), signal.SIGTERM)  # a second one, while the process is ending


def end_by(folder, number):
    """Send a signal to a recorded job, and return the exit code and status.json."""
    with pytest.raises(SystemExit) as ended, recorded_job(folder), lightnings_handlers():
        os.kill(os.getpid(), number)
    return ended.value.code, read_json(folder / "status.json")


def test_a_job_that_is_told_of_its_end_is_queued_again_and_records_it(submitit, tmp_path, caplog):
    code, status = end_by(tmp_path, signal.SIGUSR2)
    assert (code, submitit) == (-1, [signal.SIGUSR2])
    assert (status["state"], status["reason"]) == ("interrupted", "stopped by the cluster, and queued again")
    assert "goes on from its last epoch when it is started again" in caplog.text


def test_a_preempted_job_with_a_grace_time_is_queued_again(submitit, shown, tmp_path):
    shown("JobId=7 JobState=RUNNING Requeue=1 PreemptEligibleTime=2026-12-01T02:59:40 PreemptTime=2026-12-01T02:59:43")
    code, status = end_by(tmp_path, signal.SIGTERM)
    assert (code, submitit) == (-1, [signal.SIGUSR2])
    assert status["reason"] == "stopped by the cluster, and queued again"


@pytest.mark.parametrize(
    "line",
    [
        "JobId=7 JobState=CANCELLED PreemptTime=None",
        "JobId=7 JobState=COMPLETING Restarts=1",
        "JobId=7 JobState=RUNNING",
    ],
)
def test_a_job_that_is_cancelled_or_queued_already_only_ends(line, submitit, shown, tmp_path):
    shown(line)
    code, status = end_by(tmp_path, signal.SIGTERM)
    assert (code, submitit) == (128 + signal.SIGTERM, [])
    assert status["reason"] == "told to stop (SIGTERM)"


def test_without_scontrol_a_job_only_ends(submitit, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert end_by(tmp_path, signal.SIGTERM)[0] == 128 + signal.SIGTERM


def test_a_job_that_is_not_queued_again_says_what_to_raise(submitit, tmp_path):
    counting = signal.getsignal(signal.SIGUSR2)

    def refuse(number, frame):
        raise RuntimeError("Job not requeued because: timed-out too many times.")

    signal.signal(signal.SIGUSR2, refuse)
    try:
        raised = pytest.raises(UserError, match=r"timed-out too many times\)\. Raise hydra.launcher.timeout_min")
        with raised, recorded_job(tmp_path):
            os.kill(os.getpid(), signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, counting)
    assert read_json(tmp_path / "status.json")["state"] == "failed"


def test_outside_of_submitit_no_handler_is_replaced(submitit, tmp_path, monkeypatch):
    monkeypatch.delenv("SUBMITIT_EXECUTOR")
    before = signal.getsignal(signal.SIGUSR2)
    with recorded_job(tmp_path):
        assert signal.getsignal(signal.SIGUSR2) is before


def test_outside_of_submitit_a_system_may_lack_the_signal(tmp_path, monkeypatch):
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)
    monkeypatch.setenv("SUBMITIT_PREEMPT_SIGNAL", "NONE")  # as USR2 on Windows: no signal has this name
    with recorded_job(tmp_path):
        pass
    assert read_json(tmp_path / "status.json")["state"] == "finished"
