"""Sweeps and jobs of several tasks on a real SLURM, where it is installed."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from safe_exp.runs.job_outcome import read_job
from tests.commands import SMALL, environment, read_json, run
from tests.sweep.test_sweep import TINY, results, sweep_folder, wait_for

ON_SLURM = ("hydra/launcher=slurm", "hydra.launcher.partition=debug", "hydra.launcher.cpus_per_task=1",
            "hydra.launcher.mem_gb=1", "hydra.launcher.timeout_min=10")  # fmt: skip

pytestmark = pytest.mark.slow


def on_cluster(slurm, cwd, *arguments, **options):
    variables = {name: value for name, value in slurm.items() if name == "SLURM_CONF"}
    return run("train", *arguments, *ON_SLURM, cwd=cwd, timeout=300, **variables, **options)


def test_a_sweep_is_an_array_and_equals_one_that_ran_here(slurm, tmp_path):
    done = on_cluster(slurm, tmp_path, "-m", *TINY, "seed=0,1,2")
    assert done.returncode == 0, done.stderr
    here = tmp_path / "here"
    here.mkdir()
    assert run("train", "-m", *TINY, "seed=0,1,2", cwd=here).returncode == 0
    assert results(sweep_folder(tmp_path)) == results(sweep_folder(here))
    assert {read_json(sweep_folder(tmp_path) / str(n) / "status.json")["state"] for n in range(3)} == {"finished"}


def test_a_cancelled_job_is_resumed_to_the_end(slurm, tmp_path):
    long = (*SMALL, "trainer.max_epochs=300", "callbacks.convergence.patience=0", "logger=none")
    process = subprocess.Popen(
        [sys.executable, "-m", "safe_exp.train", "-m", *long, "seed=0,1", *ON_SLURM], cwd=tmp_path,
        env=environment(SLURM_CONF=slurm["SLURM_CONF"]), text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for(lambda: list(tmp_path.glob("multirun/*/*/1/checkpoints/last.ckpt")))
    folder = sweep_folder(tmp_path)
    queue = subprocess.run(["squeue", "-h", "-o", "%i"], env=slurm, capture_output=True, text=True, check=True)
    (second,) = [job for job in queue.stdout.split() if job.endswith("_1")]
    subprocess.run(["scancel", second], env=slurm, check=True)
    # Without an accounting data base submitit never learns of the cancelling and waits on; so its user stops it.
    wait_for(lambda: not subprocess.run(["squeue", "-h"], env=slurm, capture_output=True, check=True).stdout.strip())
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert f"resume_sweep={folder.relative_to(tmp_path)}" in printed
    assert read_json(folder / "1" / "status.json")["state"] in ("interrupted", "running")  # told to stop, or killed
    assert not (folder / "1" / "metrics.json").exists()
    resumed = on_cluster(slurm, tmp_path, "-m", f"resume_sweep={folder}")
    assert resumed.returncode == 0, resumed.stderr + printed
    assert results(folder).keys() == {0, 1}
    assert read_json(folder / "1" / "status.json")["resumed"] == 1


def test_jobs_that_are_stopped_and_queued_again_end_like_one_that_was_not(slurm, tmp_path):
    """SLURM sends USR2 ahead of the time limit, and SIGTERM to a job that is requeued or preempted."""
    long = (*SMALL, "trainer.max_epochs=40", "callbacks.convergence.patience=0", "logger=csv")
    equal = "logger.project=a,b,c"  # three jobs that differ in nothing
    process = subprocess.Popen(
        [sys.executable, "-m", "safe_exp.train", "-m", *long, equal, *ON_SLURM], cwd=tmp_path,
        env=environment(SLURM_CONF=slurm["SLURM_CONF"]), text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    for number, stop in ((0, ["scancel", "--signal=USR2"]), (1, ["scontrol", "requeue"])):
        wait_for(lambda at=number: list(tmp_path.glob(f"multirun/*/*/{at}/checkpoints/last.ckpt")))
        queue = subprocess.run(["squeue", "-h", "-o", "%F"], env=slurm, capture_output=True, text=True, check=True)
        subprocess.run([*stop, f"{queue.stdout.split()[0]}_{number}"], env=slurm, check=True)
    folder = sweep_folder(tmp_path)
    wait_for(lambda: read_json(folder / "0" / "status.json")["state"] == "interrupted")
    assert read_json(folder / "0" / "status.json")["reason"] == "stopped by the cluster, and queued again"
    _, printed = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    assert [read_json(folder / str(number) / "status.json")["resumed"] for number in range(3)] == [1, 1, 0]
    first, second, third = (
        torch.load(folder / str(number) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for number in range(3)
    )
    assert all(torch.equal(first[name], third[name]) and torch.equal(second[name], third[name]) for name in third)
    figures = results(folder)
    assert figures[0] == figures[1] == figures[2]
    logged = [read_job(folder / str(number), number, []).read_epochs() for number in range(3)]
    assert logged[0] == logged[1] == logged[2]
    assert len(logged[2]["val/loss"]) == 40


def test_two_tasks_share_a_job_and_reach_the_weights_of_one(slurm, tmp_path):
    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "logger=none")
    done = on_cluster(slurm, tmp_path, "-m", *SMALL, *two, "seed=0")
    assert done.returncode == 0, done.stderr
    one = tmp_path / "one"
    assert run("train", *SMALL, "logger=none", f"hydra.run.dir={one}", cwd=tmp_path).returncode == 0
    ours, theirs = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (sweep_folder(tmp_path) / "0", one)
    )
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-6, msg=name)


def test_the_cluster_leaves_nothing_running(slurm):
    deadline = time.monotonic() + 30
    while subprocess.run(["squeue", "-h"], env=slurm, capture_output=True, text=True, check=True).stdout.strip():
        assert time.monotonic() < deadline, os.listdir(".")
        time.sleep(0.5)
