"""Files are written whole or not at all."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from safe_exp.system.files import short_path, whole_file, write_json


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "metrics.json"
    write_json(path, {"f1": 0.5})

    def fail_halfway():
        with whole_file(path) as draft:
            draft.write_text("half a fi")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail_halfway()
    assert json.loads(path.read_text()) == {"f1": 0.5}
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "sub" / "status.json"
    write_json(path, 1)
    with whole_file(path) as draft:
        draft.write_text("2")
        assert path.read_text() == "1\n"
        assert draft.suffix == ".json"
    assert path.read_text() == "2"


def test_a_file_has_the_permissions_of_the_umask_whatever_its_library_sets(tmp_path):
    for name, write in (("plain", lambda path: path.write_text("x")), ("safe", lambda path: save_file({}, path))):
        with whole_file(tmp_path / name) as draft:
            write(draft)
    assert (tmp_path / "safe").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_write_json_refuses_nan_and_infinity(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"auroc": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_path_below_the_working_folder_is_relative_and_another_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(short_path(tmp_path / "outputs" / "x")) == "outputs/x"
    assert str(short_path(Path("outputs/x"))) == "outputs/x"
    assert short_path(tmp_path.parent / "y") == tmp_path.parent / "y"
