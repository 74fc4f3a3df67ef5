"""A run of train from Python: the command's own run, in a process of its own."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

import safe_exp
from safe_exp.api import training_run
from tests.commands import SMALL, read_json, read_metrics, run


@pytest.fixture
def no_process(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a process was started")

    monkeypatch.setattr(training_run, "_run", refuse)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.alhpa=1"], r"model\.alhpa: there is no such key\. Did you mean model\.alpha"),
        (["model=sfae"], "model=sfae: there is no such option. Did you mean model=safe"),
        (["debug=null"], "debug=null: expected one of fdr, limit, overfit, profiler. To have none, leave it out"),
        (["scheduler=5"], "scheduler=5: expected one of cosine, "),
        (["trainer.max_epochs=many"], "trainer.max_epochs=many: expected a whole number"),
        (["model.alpha=0.2,0.4"], "several values"),
        (["threshold=3"], "threshold=3: expected a number between 0 and 1"),
        (["data=table"], r"data\.root must be given"),
        (["-m", "seed=0,1"], "train makes one run. A sweep is a command"),
        (["resume_sweep=multirun/x"], "train makes one run. A sweep is a command"),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_process_is_started(no_process, overrides, message):
    with pytest.raises(safe_exp.UserError, match=message):
        safe_exp.train(overrides)


def test_a_folder_of_own_yaml_is_given_as_to_the_command_and_the_program_s_arguments_are_not_read(
    monkeypatch, tmp_path
):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "short.yaml").write_text("# @package _global_\ntrainer: {max_epochs: 2}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["service", "--config-dir", "of-the-service", "resume=yes"])
    given = []
    monkeypatch.setattr(training_run, "_run", lambda command, show: (given.append(command), (0, [], 1))[1])
    safe_exp.train(["--config-dir=mine", "experiment=short"])
    assert given[0][3:5] == ["--config-dir=mine", "experiment=short"]
    with pytest.raises(safe_exp.UserError, match=r"experiment=short: there is no such option"):
        safe_exp.train(["experiment=short"])
    with pytest.raises(safe_exp.UserError, match=r"--config-dir nowhere: there is no such folder"):
        safe_exp.train(["--config-dir", "nowhere"])


def test_one_string_is_no_list_of_overrides(no_process):
    with pytest.raises(TypeError, match="expected a list of strings"):
        safe_exp.train("trainer.max_epochs=2")


def test_the_folder_is_new_unless_it_is_given(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    given = []
    monkeypatch.setattr(training_run, "_run", lambda command, show: (given.append(command), (0, [], 1))[1])
    first, second = safe_exp.train(), safe_exp.train()
    assert first.folder != second.folder
    assert first.folder.parents[2] == tmp_path
    assert given[0][-1] == f"hydra.run.dir='{first.folder.relative_to(tmp_path)}'"
    assert safe_exp.train(folder=tmp_path / "it's here").folder == tmp_path / "it's here"
    assert safe_exp.train(["hydra.run.dir=there"]).folder == tmp_path / "there"


def test_what_a_command_prints_is_shown_and_its_end_is_told(capsys):
    code, printed, _ = training_run._run([sys.executable, "-c", "print('é γ'); raise SystemExit(3)"], show=True)
    assert (code, printed) == (3, ["é γ\n"])
    assert capsys.readouterr().out == "é γ\n"
    training_run._run([sys.executable, "-c", "print('x')"], show=False)
    assert capsys.readouterr().out == ""


def test_ctrl_c_stops_the_command_and_waits_for_it(tmp_path, capsys):
    waiting = """
import pathlib, sys, time
pathlib.Path(sys.argv[1]).touch()
try:
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.2)
    print("stopped")
"""
    started = tmp_path / "started"

    def interrupt():
        while not started.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        training_run._run([sys.executable, "-c", waiting, str(started)], show=True)
    assert capsys.readouterr().out == "stopped\n"


@pytest.mark.slow
def test_a_run_is_the_command_s_own_and_a_failing_one_gives_its_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    trained = safe_exp.train([*SMALL, "logger=none"])
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert "Ended after 2 epochs" in capsys.readouterr().out
    done = run("train", *SMALL, "logger=none", "hydra.run.dir=typed", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    typed = tmp_path / "typed"
    assert files(trained.folder) == files(typed)
    assert read_metrics(trained.folder) == read_metrics(typed)
    for name in ("config.yaml", "overrides.yaml"):
        assert (trained.folder / ".hydra" / name).read_text() == (typed / ".hydra" / name).read_text()
    assert {**trained.metrics, "seconds": 0} == {**read_metrics(typed), "seconds": 0}
    assert trained.load().predict([{"title": "a boat", "caption": "a boat"}])[0]["verdict"] in ("fake", "real")
    with pytest.raises(safe_exp.UserError, match="a run lies in this folder already"):
        safe_exp.train([*SMALL], folder="typed", show=False)
    with pytest.raises(safe_exp.UserError, match=r"data\.root=nowhere"):
        safe_exp.train(["data=fakenewsnet", "data.root=nowhere", "logger=none"], folder="failed", show=False)
    assert read_json(tmp_path / "failed" / "status.json")["state"] == "failed"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
