"""Jobs of several processes inside a multirun, on this processor."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from hydra.core.hydra_config import HydraConfig

from safe_exp.runs.processes import (
    needs_a_command_of_its_own,
    note_processes,
    process_number,
    require_a_task_for_each_process,
)
from safe_exp.system.errors import UserError
from tests.commands import SMALL, environment, read_json, run
from tests.made import compose_config
from tests.sweep.test_sweep import results, sweep_folder, wait_for

DDP = ("trainer=ddp", "trainer.accelerator=cpu", "logger=none")
TWO = (*DDP, "trainer.devices=2")
# In batches of 15: the processes' shares are of different size.
UNEVEN = (*SMALL, "data.articles=62", "data.batch_size=15", "trainer.max_epochs=5", "callbacks.convergence.patience=0")


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def states(folder):
    numbered = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: int(path.name))
    return [read_json(path / "status.json")["state"] for path in numbered]


@pytest.mark.slow
def test_two_processes_share_each_job_of_a_sweep_as_they_share_a_single_run(tmp_path):
    together = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = run("train", *SMALL, *TWO, "sweep=seeds", "seed=0,1", *together, cwd=tmp_path)  # its processes sweep nothing
    assert done.returncode == 0, done.stderr
    folder = sweep_folder(tmp_path)
    assert not (tmp_path / "outputs").exists()  # no second tree
    assert states(folder) == ["finished", "finished"]
    assert "MULTIRUN" in (folder / "0" / ".hydra" / "hydra.yaml").read_text()  # reports still see a job of a sweep
    assert read_json(folder / "0" / "metrics.json")["test"] != read_json(folder / "1" / "metrics.json")["test"]
    for seed in (0, 1):
        alone = tmp_path / f"alone{seed}"
        single = run("train", *SMALL, *TWO, f"seed={seed}", f"hydra.run.dir={alone}", cwd=tmp_path)
        assert single.returncode == 0, single.stderr
        ours, theirs = weights(folder / str(seed)), weights(alone)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_a_job_that_fails_in_the_middle_of_training_stops_no_other(tmp_path):
    """Lightning kills the process that started the others, with SIGKILL, up to 5 s after one of them has failed."""
    done = run("train", "-m", *SMALL, *TWO, "optimizer=sgd", "seed=0,-1", "model.gamma=1e30,0.1", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    folder = sweep_folder(tmp_path)
    assert states(folder)[1:] == ["finished", "failed", "failed"]
    assert results(folder).keys() == {1}
    assert "training loss became" in str(read_json(folder / "0" / "status.json")["reason"])
    assert "seed=-1" in read_json(folder / "2" / "status.json")["reason"]


@pytest.mark.slow
def test_two_processes_equal_one_on_the_same_global_batches(tmp_path):
    """In float32 to 1e-6, with shares of different size; their metrics agree too."""
    done = run("train", "-m", *UNEVEN, *DDP, "trainer.devices=1,2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = sweep_folder(tmp_path) / "0", sweep_folder(tmp_path) / "1"
    expected = weights(one)
    for name, value in weights(two).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-6, msg=name)
    ours, theirs = read_json(two / "metrics.json"), read_json(one / "metrics.json")
    for split in ("val", "test"):
        for scorer in ("prediction", "similarity", "combined"):
            assert ours[split][scorer] == pytest.approx(theirs[split][scorer], rel=1e-5, abs=1e-6), (split, scorer)
        for loss in ("loss", "loss_prediction", "loss_similarity"):
            assert ours[split][loss] == pytest.approx(theirs[split][loss], rel=1e-5), (split, loss)


@pytest.mark.slow
def test_ctrl_c_reaches_a_job_of_several_processes_which_is_then_resumed(tmp_path):
    long = (*SMALL, *TWO, "trainer.max_epochs=80", "callbacks.convergence.patience=0")
    process = subprocess.Popen(
        [sys.executable, "-m", "safe_exp.train", "-m", *long, "seed=0,1"], cwd=tmp_path, env=environment(), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for(lambda: list(tmp_path.glob("multirun/*/*/0/checkpoints/last.ckpt")))
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    folder = sweep_folder(tmp_path)
    assert read_json(folder / "0" / "status.json")["state"] == "interrupted"
    assert not (folder / "1").exists()
    assert f"resume_sweep={folder.relative_to(tmp_path)}" in printed
    assert "Traceback" not in printed
    resumed = run("train", "-m", f"resume_sweep={folder}", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert states(folder) == ["finished", "finished"]
    assert read_json(folder / "0" / "status.json")["resumed"] == 1


@pytest.mark.slow
def test_a_job_whose_process_is_killed_stops_no_other_and_counts_as_interrupted(tmp_path):
    long = (*SMALL, *TWO, "callbacks.convergence.patience=0")
    process = subprocess.Popen(
        [sys.executable, "-m", "safe_exp.train", "-m", *long, "trainer.max_epochs=4000,2"], cwd=tmp_path,
        env=environment(), text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for(lambda: list(tmp_path.glob("multirun/*/*/0/checkpoints/last.ckpt")))
    folder = sweep_folder(tmp_path)
    os.kill(read_json(folder / "0" / "status.json")["pid"], signal.SIGKILL)
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 1
    assert states(folder) == ["interrupted", "finished"]
    assert "interrupted" in printed
    assert "1 of 2 jobs did not finish" in printed


@pytest.fixture
def in_multirun(monkeypatch):
    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(HydraConfig, "get", lambda: type("", (), {"mode": "MULTIRUN"}))
    for name in ("LOCAL_RANK", "SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


ONE = (["trainer=cpu"], ["trainer=gpu"], ["trainer=gpu", "trainer.devices=[3]"])
SEVERAL = (["trainer=ddp"], ["trainer=ddp", "trainer.devices=1"], ["trainer=gpu", "trainer.devices=auto"],
           ["trainer=gpu", "trainer.devices=[0,1]"], ["trainer=gpu", "trainer.num_nodes=2"])  # fmt: skip


@pytest.mark.parametrize(("overrides", "several"), [*((o, False) for o in ONE), *((o, True) for o in SEVERAL)])
def test_jobs_of_several_processes_are_known_in_a_multirun(overrides, several, in_multirun):
    trainer = compose_config(*overrides).trainer
    assert needs_a_command_of_its_own(trainer) == several
    in_multirun.setenv("LOCAL_RANK", "1")  # Lightning or torchrun has started it
    assert not needs_a_command_of_its_own(trainer)
    in_multirun.delenv("LOCAL_RANK")
    in_multirun.setenv("SLURM_NTASKS", "2")
    assert not needs_a_command_of_its_own(trainer)
    in_multirun.setenv("SLURM_JOB_NAME", "bash")  # an interactive shell, in which Lightning starts the processes itself
    assert needs_a_command_of_its_own(trainer) == several


def test_a_single_run_needs_no_command_of_its_own():
    assert not needs_a_command_of_its_own(compose_config("trainer=ddp").trainer)


@pytest.mark.parametrize(("tasks", "processes"), [(1, 2), (2, 1), (4, 2)])
def test_slurm_s_tasks_must_be_the_job_s_processes(tasks, processes, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", str(tasks))
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", str(tasks))
    monkeypatch.delenv("SLURM_JOB_NAME", raising=False)
    require_a_task_for_each_process(tasks)
    with pytest.raises(UserError, match=rf"SLURM has started {tasks}\. .*launcher\.tasks_per_node={processes} "):
        require_a_task_for_each_process(processes)


@pytest.mark.parametrize(
    ("variables", "number"),
    [
        ({}, 0),
        ({"LOCAL_RANK": 0, "NODE_RANK": 0}, 0),
        ({"LOCAL_RANK": 1, "NODE_RANK": 0, "SLURM_PROCID": 0}, 1),  # Lightning's own, inside an interactive SLURM job
        ({"NODE_RANK": 1}, 1),  # the command of a second node, before Lightning starts its processes
        ({"RANK": 2, "LOCAL_RANK": 0, "GROUP_RANK": 1}, 2),  # torchrun on a second node
        ({"SLURM_PROCID": 3, "SLURM_LOCALID": 1}, 3),
    ],
)
def test_one_process_of_all_nodes_is_the_first(variables, number, monkeypatch, a_job_of_several_processes):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    assert process_number() == number
    note_processes(compose_config("trainer=cpu").trainer)
    assert process_number() == 0  # a job of one process, whatever another tool has left in the environment
