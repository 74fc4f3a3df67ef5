"""The command line as users type it."""

import re

import pytest

from safe_exp.cli.run_command import FLAGS, flags_first
from tests.commands import SMALL, only_run, read_json, run


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "a=1,2", "b=1"], ["a=1,2", "-m", "b=1"], ["a=1,2", "b=1", "-m"], ["a=1,2", "b=1", "--multirun"],
        ["a=1,2", "-m", "b=1", "-m"],
    ],
)  # fmt: skip
def test_the_flag_of_a_sweep_may_stand_anywhere(arguments):
    assert flags_first(arguments) == ["-m", "a=1,2", "b=1"]


def test_the_folder_of_one_s_own_yaml_may_be_named_anywhere():
    assert flags_first(["a=1", "--config-dir", "own", "b=1,2", "-m"]) == ["-m", "--config-dir", "own", "a=1", "b=1,2"]
    assert flags_first(["a=1", "--config-dir=own", "b=1"]) == ["--config-dir=own", "a=1", "b=1"]


def test_without_the_flag_nothing_is_moved():
    assert flags_first(["a=1", "--cfg", "job"]) == ["a=1", "--cfg", "job"]


def test_a_sweep_by_name_is_one_without_the_flag_too():
    assert flags_first(["sweep=alpha", "seed=1"], sweeps_by_name=True) == ["-m", "sweep=alpha", "seed=1"]
    assert flags_first(["sweep=alpha", "-m"], sweeps_by_name=True) == ["-m", "sweep=alpha"]
    for other in (["sweep=null"], ["sweep=alpha", "hydra.mode=RUN"], ["sweep=alpha", "--cfg", "job"], ["seed=1"]):
        assert flags_first(other, sweeps_by_name=True) == other
    assert flags_first(["sweep=multirun/x"]) == ["sweep=multirun/x"]  # safe_exp.report's key of that name


def test_the_flags_that_are_let_through_are_those_of_hydra(tmp_path):
    done = run("train", "--hydra-help", cwd=tmp_path)
    assert set(re.findall(r"^(--[a-z-]+)", done.stdout, re.MULTILINE)) == FLAGS


def test_a_flag_that_does_not_exist_is_told_with_the_key_that_may_be_meant(tmp_path):
    done = run("train", "--alpha=0.4", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("--alpha: there is no such flag. Settings are given as key=value. alpha: there is no")


@pytest.mark.slow
def test_the_flag_in_the_middle_of_evaluate_s_overrides_is_understood(tmp_path):
    done = run("evaluate", "run=nowhere,elsewhere", "-m", "checkpoint=last", cwd=tmp_path)
    assert "run=nowhere: there is no such folder or file" in done.stderr
    assert len(list(tmp_path.glob("multirun/*/*/*/status.json"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_terminal_that_lacks_a_character_and_a_notebook_s_backend_leave_the_results_alone(encoding, tmp_path):
    odd = {"PYTHONIOENCODING": encoding, "MPLBACKEND": "module://no_such_backend"}
    done = run("train", *SMALL, "logger=csv", cwd=tmp_path, **odd)
    assert (done.returncode, read_json(only_run(tmp_path) / "status.json")["state"]) == (0, "finished")
    assert list((only_run(tmp_path) / "figures").glob("*.png"))
    assert "UnicodeEncodeError" not in done.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_help_is_printed_on_any_terminal(encoding, tmp_path):
    done = run("train", "--help", cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("override", "quoted"),
    [
        ("data.columns.image=image_id(s)", 'data.columns.image="image_id(s)"'),
        ("data.columns.id=编号", 'data.columns.id="编号"'),
        ("data.image_separator=;", 'data.image_separator=";"'),
    ],
)
def test_a_value_that_hydra_cannot_parse_is_told_with_the_quotes_that_it_needs(override, quoted, tmp_path):
    done = run("prepare", "data=table", "data.root=t.csv", override, cwd=tmp_path)
    assert done.stderr.strip().endswith(f"needs quotes of its own: '{quoted}'")
    again = run("prepare", "data=table", "data.root=t.csv", quoted, cwd=tmp_path)
    assert again.stderr.startswith("data.root=t.csv does not exist")
