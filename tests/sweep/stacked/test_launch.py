"""hydra/launcher=stacked on the command line."""

import os
import re
import signal
import time

import pytest

from safe_exp.sweep.stacked.launch import _ranges
from tests.commands import SMALL, read_json, run
from tests.sweep.stacked.jobs import checkpoint, furthest
from tests.sweep.test_sweep import LONG, results, start, sweep_folder, wait_for
from tests.wandb_server import WandbServer

STACKED = ("-m", "hydra/launcher=stacked")
MIXED = ("model.gamma=0.15,1e30", "seed=0,-1,1", "logger=csv")  # two jobs of a wrong seed, two that diverge


def list_files(job) -> list[str]:
    return sorted(str(path.relative_to(job)) for path in job.rglob("*"))


@pytest.mark.slow
def test_a_mixed_sweep_leaves_what_the_basic_launcher_leaves(tmp_path):
    basic, stacked = tmp_path / "basic", tmp_path / "stacked"
    for folder, launcher in ((basic, ("-m",)), (stacked, STACKED)):
        folder.mkdir()
        done = run("train", *launcher, *SMALL, *MIXED, cwd=folder)
        assert done.returncode == 1
        assert "4 of 6 jobs did not finish" in done.stderr
    assert "Stacked: 4 jobs, #0, #2-3, #5" in done.stderr
    assert "One by one: #1, #4 (seed=-1" in done.stderr
    assert "Traceback" not in done.stderr
    basic, stacked = sweep_folder(basic), sweep_folder(stacked)
    for number in range(6):
        ours, alone = stacked / str(number), basic / str(number)
        assert list_files(ours) == list_files(alone)
        for key in ("state", "reason"):
            assert read_json(ours / "status.json")[key] == read_json(alone / "status.json")[key]
        for name in ("config.yaml", "overrides.yaml"):
            assert (ours / ".hydra" / name).read_text() == (alone / ".hydra" / name).read_text()
        hydra = [re.sub(r"\S*(basic|stacked)\S*", "", (f / ".hydra/hydra.yaml").read_text()) for f in (ours, alone)]
        assert [line for line in hydra[1].splitlines() if line not in hydra[0].splitlines()] == []
    for number in (0, 2):
        assert furthest(checkpoint(stacked / str(number)), checkpoint(basic / str(number))) < 1e-5
    assert results(stacked).keys() == results(basic).keys() == {0, 2}
    assert "run folder" in (stacked / "0" / "logs" / "run.log").read_text()
    assert "Ended after" in (stacked / "0" / "logs" / "run.log").read_text()
    assert "1e+30" not in (stacked / "0" / "logs" / "run.log").read_text()  # a neighbour's


@pytest.mark.slow
def test_ctrl_c_interrupts_every_job_of_a_stack_and_the_sweep_is_resumed(tmp_path):
    process = start(tmp_path, *STACKED, *LONG, "seed=0,1", "trainer.max_epochs=600")
    wait_for(lambda: list(tmp_path.glob("multirun/*/*/1/logs/run.log")))
    folder = sweep_folder(tmp_path)
    time.sleep(1)  # some epochs
    os.killpg(process.pid, signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in printed
    assert f"resume_sweep={folder.relative_to(tmp_path)}" in printed
    for number in range(2):
        assert read_json(folder / str(number) / "status.json")["state"] == "interrupted"
        assert (folder / str(number) / "checkpoints" / "last.ckpt").exists()
    done = run("train", f"resume_sweep={folder}", "hydra/launcher=stacked", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "it goes on from its last checkpoint" in done.stderr
    assert results(folder).keys() == {0, 1}


@pytest.mark.slow
def test_a_stack_that_is_killed_outright_is_run_again(tmp_path):
    process = start(tmp_path, *STACKED, *LONG, "seed=0,1", "trainer.max_epochs=60")
    wait_for(lambda: list(tmp_path.glob("multirun/*/*/1/logs/run.log")))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    folder = sweep_folder(tmp_path)
    done = run("train", f"resume_sweep={folder}", "hydra/launcher=stacked", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert results(folder).keys() == {0, 1}


@pytest.mark.slow
def test_every_job_of_a_stack_is_a_wandb_run_of_its_own(tmp_path):
    server = WandbServer()
    arguments = (*STACKED, *SMALL, "seed=0,1", "model.gamma=0.15,1e30")
    done = run("train", *arguments, cwd=tmp_path, **server.environment)
    server.close()
    assert done.returncode == 1
    folder = sweep_folder(tmp_path)
    runs = []
    for number in range(4):
        runs.append(server.runs[(folder / str(number) / "wandb" / "run-id.txt").read_text().strip()])
        assert runs[-1].config["seed"] == number // 2 or runs[-1].config["seed"] == number % 2
        assert runs[-1].group == "-".join(folder.parts[-2:])
    assert len({wandb.id for wandb in runs}) == 4
    codes = [wandb.exit_code for wandb in runs]
    assert sorted(codes) == [0, 0, 1, 1]
    finished = runs[codes.index(0)]
    losses = [row["train/loss"] for row in finished.history if "train/loss" in row]
    assert len(losses) == 2  # epochs of SMALL
    assert any(key.startswith("test/") for key in finished.summary)


@pytest.mark.slow
def test_evaluate_scores_a_stacked_job_as_the_job_did(tmp_path):
    assert run("train", *STACKED, *SMALL, "seed=0,1", "logger=none", cwd=tmp_path).returncode == 0
    job = sweep_folder(tmp_path) / "1"
    (root,) = (tmp_path / "data" / "synthetic").glob("*/")
    done = run("evaluate", f"run={job}", "data=fakenewsnet", f"data.root={root}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_numbers_that_follow_one_another_are_a_range():
    assert _ranges([4, 0, 1, 2, 7]) == "#0-2, #4, #7"
    assert _ranges(range(0, 40, 2)).endswith("#14, …")
