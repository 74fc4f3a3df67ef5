"""A run folder is one process's at a time, and a folder without a run is none."""

import errno
import multiprocessing

import pytest

from safe_exp.runs.folder import is_run, locked_folder
from safe_exp.system.errors import UnwritableFile, UserError


def hold(folder, held, done):
    with locked_folder(folder):
        held.set()
        done.wait(60)


def test_a_folder_in_which_another_process_works_is_refused(tmp_path):
    context = multiprocessing.get_context("fork")
    held, done = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "run", held, done))
    holder.start()
    try:
        assert held.wait(30)
        with (
            pytest.raises(UserError, match="another process is working in this run folder"),
            locked_folder(tmp_path / "run"),
        ):
            pass
    finally:
        done.set()
        holder.join(30)
    with locked_folder(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()


def test_further_processes_of_a_job_take_no_lock(tmp_path, monkeypatch, a_job_of_several_processes):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with locked_folder(tmp_path / "run"):
        assert not (tmp_path / "run").exists()


def test_a_full_disk_is_told_as_a_message_and_other_errors_pass(tmp_path):
    with (
        pytest.raises(UnwritableFile, match=r"weights: cannot be written \(No space left on device\)"),
        locked_folder(tmp_path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device", "weights")
    with pytest.raises(FileNotFoundError), locked_folder(tmp_path):
        (tmp_path / "absent").read_bytes()


def test_a_folder_holds_a_run_once_hydra_has_written_its_last_file(tmp_path):
    overrides = tmp_path / ".hydra" / "overrides.yaml"
    assert not is_run(None)
    assert not is_run(str(tmp_path))
    overrides.parent.mkdir()
    overrides.touch()
    assert not is_run(str(tmp_path))  # killed while it was written
    overrides.write_text("[]\n")
    assert is_run(str(tmp_path))
