"""Artifacts that several jobs of a sweep share lie on the disk once."""

import os
from pathlib import Path

import pytest

from safe_exp.data.artifacts import MOST_COMPARED, earlier_artifacts, link_artifacts, share_artifacts
from safe_exp.system.files import whole_file, write_sealed_json


@pytest.fixture
def jobs(tmp_path) -> list[Path]:
    """Write two jobs with the same tokenizer, and manifests of the same length but another content."""
    folders = [tmp_path / str(job) / "artifacts" for job in range(2)]
    for job, folder in enumerate(folders):
        folder.mkdir(parents=True)
        (folder / "tokenizer.json").write_text("words")
        (folder / "data_manifest.json").write_text(f"fold {job}")
        os.utime(folder / "data_manifest.json", (0, 0))
    return folders


def test_files_of_the_same_content_become_one_and_no_other(jobs):
    share_artifacts(jobs[1], jobs)
    assert (jobs[0] / "tokenizer.json").samefile(jobs[1] / "tokenizer.json")
    assert [(job / "data_manifest.json").read_text() for job in jobs] == ["fold 0", "fold 1"]
    assert sorted(path.name for path in jobs[1].iterdir()) == ["data_manifest.json", "tokenizer.json"]
    share_artifacts(jobs[1], jobs)  # once more, as after a resume
    assert (jobs[0] / "tokenizer.json").samefile(jobs[1] / "tokenizer.json")


def test_a_job_that_writes_its_artifacts_anew_leaves_the_other_jobs_alone(jobs):
    share_artifacts(jobs[1], jobs)
    with whole_file(jobs[1] / "tokenizer.json") as draft:
        draft.write_text("other words")
    assert (jobs[0] / "tokenizer.json").read_text() == "words"
    assert not os.stat(jobs[0] / "tokenizer.json").st_mode & 0o222  # so an editor asks before it writes into it


def test_without_hard_links_every_job_keeps_its_copy(jobs, monkeypatch):
    def refused(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refused)
    share_artifacts(jobs[1], jobs)
    assert [(job / "tokenizer.json").read_text() for job in jobs] == ["words", "words"]
    assert not (jobs[0] / "tokenizer.json").samefile(jobs[1] / "tokenizer.json")


def test_the_nearest_earlier_jobs_are_compared_and_not_all_of_thousands(tmp_path):
    assert [path.parent.name for path in earlier_artifacts(tmp_path / "3")] == ["2", "1", "0"]
    numbers = [int(path.parent.name) for path in earlier_artifacts(tmp_path / "2999")]
    assert numbers == list(range(2998, 2998 - MOST_COMPARED, -1))
    assert not list(earlier_artifacts(tmp_path / "a_run"))


@pytest.mark.parametrize("links", [True, False])
def test_a_job_takes_over_the_saved_files_of_another_and_no_other_file(links, tmp_path, monkeypatch):
    def refused(*arguments):
        raise OSError(95, "Operation not supported")

    saved, taken = tmp_path / "0", tmp_path / "1" / "artifacts"
    saved.mkdir()
    (saved / "tokenizer.json").write_text("words")
    (saved / "calibration.json").write_text("of this job alone")
    write_sealed_json(saved / "data_manifest.json", {"files": {"tokenizer.json": "0"}})
    if not links:
        monkeypatch.setattr(os, "link", refused)
    for _ in range(2):  # once more, as after a resume
        link_artifacts(taken, saved)
        assert sorted(path.name for path in taken.iterdir()) == ["data_manifest.json", "tokenizer.json"]
        for path in taken.iterdir():
            assert path.read_bytes() == (saved / path.name).read_bytes()
            assert path.samefile(saved / path.name) == links
