"""resume_sweep=DIR on a command line."""

import pytest
import yaml

from safe_exp.sweep.command_line import expand_resume_sweep


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """The folder of a sweep that was started in start/ with --config-dir own; the working folder is another one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "start" / "own").mkdir(parents=True)
    folder = tmp_path / "sweep"
    folder.mkdir()
    runtime = {
        "cwd": str(tmp_path / "start"),
        "config_sources": [{"provider": "command-line", "schema": "file", "path": str(tmp_path / "start" / "own")}],
    }
    overrides = {"task": ["experiment=mine", "seed=0,1"], "hydra": ["hydra.mode=MULTIRUN"]}
    (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": {"runtime": runtime, "overrides": overrides}}))
    return folder


def test_a_sweep_goes_on_with_the_yaml_that_it_was_started_with(sweep):
    assert expand_resume_sweep(["resume_sweep=sweep", "-m", "hydra/launcher=joblib"]) == [
        "-m", "--config-dir", str(sweep.parent / "start" / "own"), "experiment=mine", "seed=0,1",
        "hydra/launcher=joblib", f"hydra.sweep.dir='{sweep}'",
    ]  # fmt: skip


def test_yaml_that_lies_elsewhere_now_is_named_again(sweep, capsys):
    (sweep.parent / "start" / "own").rmdir()
    (sweep.parent / "moved").mkdir()
    with pytest.raises(SystemExit):
        expand_resume_sweep(["resume_sweep=sweep", "-m"])
    said = capsys.readouterr().err
    assert said.startswith("resume_sweep=sweep: the sweep was started with --config-dir ")
    assert "Give the folder" in said
    expanded = expand_resume_sweep(["resume_sweep=sweep", "--config-dir", "moved"])
    assert expanded[1:4] == ["--config-dir", str(sweep.parent / "moved"), "experiment=mine"]
