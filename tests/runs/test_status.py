"""status.json holds the state of a job, whatever ends it."""

import json
import os
import subprocess
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from safe_exp.runs.status import JobRecord, record_process_failure
from safe_exp.system.errors import UserError
from safe_exp.system.versions import git_commit


def read_status(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text(encoding="utf-8"))


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, "-C", folder, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A git repository with one commit and the folders that `git_commit` looks at."""
    for name in ("src", "conf"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("one")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_a_new_job_is_running_from_the_first_moment(tmp_path):
    record = JobRecord(tmp_path / "run", "python -m safe_exp.train seed=1")
    status = read_status(tmp_path / "run")
    assert status["state"] == "running"
    assert status["reason"] is None
    assert status["ended"] is None
    assert status["command"] == "python -m safe_exp.train seed=1"
    assert status["pid"] == os.getpid()
    assert datetime.fromisoformat(status["started"]).tzinfo is not None
    assert status["versions"]["torch"] == version("torch")
    assert status["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record.exit_code == 1


def test_a_finished_job_says_so_and_exits_with_0(tmp_path):
    record = JobRecord(tmp_path, "command")
    record.finished()
    status = read_status(tmp_path)
    assert status["state"] == "finished"
    assert datetime.fromisoformat(status["ended"]) >= datetime.fromisoformat(status["started"])
    assert record.exit_code == 0


def test_a_users_error_is_recorded_as_its_bare_message(tmp_path):
    record = JobRecord(tmp_path, "command")
    record.failed(UserError("data.root=/x: no such folder."))
    status = read_status(tmp_path)
    assert (status["state"], status["reason"]) == ("failed", "data.root=/x: no such folder.")
    assert "traceback" not in status
    assert record.exit_code == 1


def test_any_other_error_brings_its_traceback(tmp_path):
    record = JobRecord(tmp_path, "command")
    try:
        {}["absent"]
    except KeyError as error:
        record.failed(error)
    status = read_status(tmp_path)
    assert (status["state"], status["reason"]) == ("failed", "KeyError: 'absent'")
    assert '{}["absent"]' in status["traceback"]


def test_ctrl_c_and_sigterm_are_interruptions(tmp_path):
    for error, reason in (
        (KeyboardInterrupt(), "keyboard"),
        (SystemExit(143), "SIGTERM"),
        (exit_as_lightning_does_after_ctrl_c(), "keyboard"),
    ):
        record = JobRecord(tmp_path, "command")
        record.failed(error)
        assert read_status(tmp_path)["state"] == "interrupted"
        assert reason in read_status(tmp_path)["reason"]
        assert record.exit_code != 0


def test_lightnings_own_sigterm_exception_is_an_interruption(tmp_path):
    from pytorch_lightning.utilities.exceptions import SIGTERMException

    record = JobRecord(tmp_path, "command")
    record.failed(SIGTERMException())
    assert record.state == "interrupted"


GONE = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1")


@pytest.mark.parametrize("first_process_notices", ["before", "after"])
def test_the_reason_is_that_of_the_process_that_failed_not_of_the_one_that_missed_it(first_process_notices, tmp_path):
    record = JobRecord(tmp_path, "command")
    if first_process_notices == "before":
        record.failed(GONE)
    record_process_failure(tmp_path, UserError("the disk is gone."), process=1)
    if first_process_notices == "after":
        record.failed(GONE)
        assert record.reason == "in process 1: the disk is gone."
    status = read_status(tmp_path)
    assert (status["state"], status["reason"]) == ("failed", "in process 1: the disk is gone.")
    assert status["command"] == "command"


def test_what_fails_in_the_first_process_stays_the_reason(tmp_path):
    record = JobRecord(tmp_path, "command")
    record.failed(UserError("data.root=/x: no such folder."))
    record_process_failure(tmp_path, UserError("data.root=/x: no such folder."), process=1)
    record_process_failure(tmp_path, GONE, process=2)
    assert read_status(tmp_path)["reason"] == "data.root=/x: no such folder."


def test_a_process_that_was_killed_outright_is_named_as_gone(tmp_path):
    JobRecord(tmp_path, "command").failed(GONE)
    assert read_status(tmp_path)["reason"].startswith("another process of this job is gone (RuntimeError: [gloo")


def test_any_other_exit_is_a_failure(tmp_path):
    record = JobRecord(tmp_path, "command")
    record.failed(SystemExit("a library gave up"))
    assert read_status(tmp_path)["state"] == "failed"
    assert "a library gave up" in read_status(tmp_path)["reason"]


def test_each_further_job_in_a_folder_counts_as_resumed(tmp_path):
    for expected in (0, 1, 2):
        JobRecord(tmp_path, "command").failed(KeyboardInterrupt())
        assert read_status(tmp_path)["resumed"] == expected


def test_a_reason_with_undecodable_bytes_can_be_written(tmp_path):
    record = JobRecord(tmp_path, "command")
    record.failed(UserError(os.fsdecode(b"caf\xe9.txt: cannot be read")))
    assert "cannot be read" in read_status(tmp_path)["reason"]


def test_a_finished_run_that_was_not_changed_stays_finished(tmp_path):
    JobRecord(tmp_path, "train").finished()
    before = read_status(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    JobRecord(tmp_path, "train resume=.").failed(UserError("trainer.precision=99: refused"))
    assert read_status(tmp_path) == before
    (tmp_path / "metrics.json").unlink()  # a training that begins takes the results away first
    JobRecord(tmp_path, "train resume=.").failed(UserError("diverged"))
    assert (read_status(tmp_path)["state"], read_status(tmp_path)["reason"]) == ("failed", "diverged")


def test_a_full_disk_does_not_hide_the_error_that_ended_the_job(tmp_path, monkeypatch):
    def no_space(path, content):
        raise OSError(28, "No space left on device")

    record = JobRecord(tmp_path, "command")
    monkeypatch.setattr("safe_exp.runs.status.write_json", no_space)
    record.failed(OSError(28, "No space left on device"))
    assert record.state == "failed"


def test_the_commit_is_the_one_that_git_names(checkout):
    assert git_commit(checkout) == git(checkout, "rev-parse", "HEAD")


def test_changed_and_new_files_mark_the_commit(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    (checkout / "conf" / "new").write_text("two")
    assert git_commit(checkout) == f"{head}+changes"
    (checkout / "conf" / "new").unlink()
    (checkout / "src" / "file").write_text("two")
    assert git_commit(checkout) == f"{head}+changes"


def test_a_file_beside_the_code_does_not_mark_the_commit(checkout):
    (checkout / "outputs").write_text("a run")
    assert "+changes" not in git_commit(checkout)


def test_an_installed_wheel_has_no_commit_even_inside_another_project(checkout):
    site_packages = checkout / "venv" / "lib"
    site_packages.mkdir(parents=True)
    assert git_commit(site_packages) is None


def test_no_git_and_a_slow_git_give_no_commit(checkout, monkeypatch):
    monkeypatch.setattr("safe_exp.system.versions.GIT_TIMEOUT_SECONDS", 0)
    assert git_commit(checkout) is None
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("safe_exp.system.versions.GIT_TIMEOUT_SECONDS", 5)
    assert git_commit(checkout) is None


def test_a_hooks_git_dir_does_not_mislead(checkout, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path_factory.mktemp("elsewhere")))
    assert git_commit(checkout) is not None


def test_the_record_loads_no_heavy_library():
    heavy = {"torch", "pytorch_lightning", "wandb", "matplotlib"}
    loaded = f"import sys, safe_exp.runs.status; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", loaded], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def exit_as_lightning_does_after_ctrl_c() -> SystemExit:
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)
    except SystemExit as error:
        return error
