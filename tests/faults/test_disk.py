"""Full disks and read-only folders: one message, whole files stay whole, and with room the command goes on."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from safe_exp.system.errors import UnwritableFile, UserError
from safe_exp.system.files import whole_file, write_json
from tests.faults import forked
from tests.faults.disks import make_read_only, resize, small_disk
from tests.faults.test_kills import RUN, differences
from tests.faults.whole import broken_files

# Two-megabyte checkpoints: the network is the only thing that grows.
PREPARED = ("data=synthetic", "data.articles=120", "data.workers=1", "hydra.run.dir=job")
LARGE = (*RUN, "model.num_filters=400", "model.feature_dim=100", "trainer.max_epochs=3")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert forked.run("train", *LARGE, cwd=folder, watch=False).code == 0
    return folder


@pytest.mark.parametrize("library", ["torch", "safetensors", "plain"])
def test_a_write_for_which_there_is_no_room_leaves_the_old_file_and_says_so(library, tmp_path):
    write = {
        "torch": lambda path: torch.save({"a": torch.zeros(10**6)}, path),
        "safetensors": lambda path: save_file({"a": torch.zeros(10**6)}, path),
        "plain": lambda path: path.write_bytes(bytes(4 * 10**6)),
    }[library]
    with small_disk(tmp_path / "disk", "1m") as disk:
        path = disk / "weights.bin"
        path.write_bytes(b"old")
        with pytest.raises(UnwritableFile, match=r"weights\.bin: cannot be written \(No space left on device\)"):
            _write_whole(path, write)
        assert [p.name for p in disk.iterdir()] == ["weights.bin"]
        assert path.read_bytes() == b"old"
    with small_disk(tmp_path / "another", "1m") as disk:
        path = disk / "weights.bin"
        path.write_bytes(b"old")
        make_read_only(disk)
        with pytest.raises(UnwritableFile, match=r"weights\.bin: cannot be written \(Read-only file system\)"):
            _write_whole(path, write)
        assert path.read_bytes() == b"old"


def _write_whole(path: Path, write) -> None:
    with whole_file(path) as draft:
        write(draft)


def test_an_error_that_is_not_the_disk_s_stays_what_it_is(tmp_path):
    with pytest.raises(RuntimeError, match=r"^other$"), whole_file(tmp_path / "a"):
        raise RuntimeError("other")
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a"):
        (tmp_path / "nowhere").read_bytes()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_file_above_the_limit_of_its_size_is_one_message(tmp_path):
    done = forked.run("prepare", "data=synthetic", "data.articles=120", cwd=tmp_path, watch=False, file_bytes=25_000)
    assert done.code == 1
    assert "File too large" in done.printed
    assert "Traceback" not in done.printed
    assert broken_files(tmp_path) == {}


@pytest.mark.slow
@pytest.mark.parametrize("size", ["1m", "2m"])
def test_preparing_on_a_full_disk_is_one_message_and_goes_on_when_there_is_room(size, tmp_path):
    with small_disk(tmp_path / "disk", size) as disk:
        prepare = ("prepare", "data=synthetic", "data.articles=300", "data.workers=1", "hydra.run.dir=job")
        done = forked.run(*prepare, cwd=disk, watch=False)
        assert done.code == 1
        assert "No space left on device" in done.printed
        assert "Traceback" not in done.printed, done.printed
        assert broken_files(disk) == {}
        resize(disk, "40m")
        done = forked.run(*prepare, cwd=disk, watch=False)
        assert done.code == 0, done.printed
        assert broken_files(disk) == {}
        assert "300" in done.printed


@pytest.mark.slow
def test_training_on_a_disk_that_fills_up_keeps_what_is_whole_and_resumes_to_the_same_end(undisturbed, tmp_path):
    with small_disk(tmp_path / "disk", "60m") as disk:
        assert forked.run("prepare", *PREPARED, cwd=disk, watch=False).code == 0
        used = sum(path.stat().st_blocks * 512 for path in disk.rglob("*"))
        checkpoint = (undisturbed / "run" / "checkpoints" / "last.ckpt").stat().st_size
        # Room for best.ckpt, last.ckpt and half of the draft of the next one.
        resize(disk, f"{(used + int(2.5 * checkpoint)) // 1024 + 300}k")
        done = forked.run("train", *LARGE, cwd=disk, watch=False)
        assert done.code == 1
        assert re.search(r"run/checkpoints/\w+\.ckpt: cannot be written \(No space left on device\)", done.printed)
        assert "When there is room:  python -m safe_exp.train resume=run" in done.printed
        assert "Traceback" not in done.printed
        assert broken_files(disk) == {}
        assert (disk / "run" / "checkpoints" / "last.ckpt").exists()
        resize(disk, "60m")
        done = forked.run("train", "resume=run", cwd=disk, watch=False)
        assert done.code == 0, done.printed
        assert broken_files(disk) == {}
        assert differences(disk, undisturbed) == []


@pytest.mark.slow
def test_a_folder_that_may_only_be_read_is_one_message(tmp_path):
    with small_disk(tmp_path / "disk", "60m") as disk:
        assert forked.run("prepare", *PREPARED, cwd=disk, watch=False).code == 0
        make_read_only(disk)
        for command in (("train", *LARGE), ("prepare", *PREPARED[:2]), ("evaluate", "run=job")):
            done = forked.run(*command, cwd=disk, watch=False)
            assert done.code == 1
            assert "Read-only file system" in done.printed
            assert "Traceback" not in done.printed, done.printed
        assert not (disk / "run").exists()
        # The data may lie on such a disk, when the run does not.
        (tmp_path / "elsewhere").mkdir()
        where = [f"data.root={disk}/data/synthetic", f"data.prepared={disk}/data/prepared"]
        done = forked.run("train", *RUN, *where, cwd=tmp_path / "elsewhere", watch=False)
        assert done.code == 0, done.printed


def test_a_status_that_cannot_be_written_does_not_hide_why_the_job_failed(tmp_path):
    from safe_exp.runs.status import JobRecord

    with small_disk(tmp_path / "disk", "1m") as disk:
        record = JobRecord(disk, "command")
        make_read_only(disk)
        record.failed(UserError("the reason"))
        assert record.state == "failed"
        with pytest.raises(UnwritableFile):
            write_json(disk / "a.json", 1)
