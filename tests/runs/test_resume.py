"""A stopped run is resumed, a finished one trained further, and a run that has not finished never looks finished."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF
from safe_exp.runs.resume import _root_paths
from safe_exp.system.files import read_sealed_json
from tests.commands import SMALL, environment, only_run, read_json, read_metrics, run
from tests.data.folders import write_side_tables
from tests.wandb_file import read_finished_run

CONVERGES = [*SMALL, "model.gamma=1e-6", "trainer.max_epochs=8"]  # after 4 epochs


def last_checkpoint(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [CONVERGES, [*SMALL, "trainer.max_steps=3"]])
def test_a_run_killed_after_its_last_checkpoint_is_resumed_to_the_same_end(limit, tmp_path):
    assert run("train", *limit, cwd=tmp_path).returncode == 0
    folder = only_run(tmp_path)
    metrics, weights = read_metrics(folder), last_checkpoint(folder)["state_dict"]
    (folder / "metrics.json").unlink()
    done = run("train", f"resume={folder}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_metrics(folder) == metrics
    assert all(torch.equal(value, weights[name]) for name, value in last_checkpoint(folder)["state_dict"].items())


@pytest.mark.slow
def test_a_finished_run_is_trained_further_under_a_raised_limit_which_holds_from_then_on(tmp_path):
    assert run("train", *CONVERGES, "callbacks.convergence.patience=3", cwd=tmp_path).returncode == 0
    folder = only_run(tmp_path)
    assert (read_json(folder / "metrics.json")["stopped_by"], last_checkpoint(folder)["epoch"]) == ("converged", 3)
    for added in ([], ["trainer.max_epochs=8"], ["trainer.log_every_n_steps=5"]):
        refused = run("train", f"resume={folder}", *added, cwd=tmp_path)
        assert refused.returncode == 1
        assert "this run has finished" in refused.stderr
        assert "raise its limit, as in trainer.max_epochs=16" in refused.stderr
        assert read_json(folder / "status.json")["state"] == "finished"

    refused = run("train", f"resume={folder}", "trainer.max_epochs=9", "trainer.precision=7", cwd=tmp_path)
    assert "Lightning refuses trainer" in refused.stderr
    assert (folder / "metrics.json").exists()  # nothing has been trained, so nothing has changed

    extending = subprocess.Popen(
        [sys.executable, "-m", "safe_exp.train", f"resume={folder}", "trainer.max_epochs=9"], cwd=tmp_path,
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (folder / ".hydra" / "added.yaml").exists():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(extending.pid, signal.SIGKILL)
    extending.wait()
    assert not (folder / "metrics.json").exists()  # else it would look finished
    assert not (folder / "artifacts" / "calibration.json").exists()  # it was of another checkpoint

    done = run("train", f"resume={folder}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = read_json(folder / "metrics.json")
    assert (metrics["stopped_by"], metrics["epochs"]) == ("converged", 7)  # three still epochs, counted anew
    stored, _ = read_sealed_json(folder / "artifacts" / "calibration.json")
    assert stored == metrics["calibration"]
    refused = run("train", f"resume={folder}", cwd=tmp_path)
    assert "as in trainer.max_epochs=18" in refused.stderr  # the limit is now 9


@pytest.mark.slow
def test_a_run_that_ended_within_an_epoch_is_refused_and_left_as_it_is(tmp_path):
    assert run("train", *SMALL, "trainer.max_steps=3", cwd=tmp_path).returncode == 0  # of two batches an epoch
    folder = only_run(tmp_path)
    metrics = read_json(folder / "metrics.json")
    assert (metrics["stopped_by"], metrics["epochs"], metrics["ended_within_epoch"]) == ("max_steps", 2, True)
    refused = run("train", f"resume={folder}", "trainer.max_steps=9", cwd=tmp_path)
    assert "this run was ended within an epoch" in refused.stderr
    assert read_json(folder / "metrics.json") == metrics
    assert read_json(folder / "status.json")["state"] == "finished"


@pytest.mark.slow
def test_a_limit_on_which_the_course_of_gamma_depends_is_not_raised(tmp_path):
    assert run("train", *SMALL, "scheduler=cosine", cwd=tmp_path).returncode == 0
    folder = only_run(tmp_path)
    refused = run("train", f"resume={folder}", "trainer.max_epochs=9", cwd=tmp_path)
    assert "scheduler.T_max was 2 and would become 9" in refused.stderr
    assert "Start a new run with the new limit" in refused.stderr
    assert (folder / "metrics.json").exists()


@pytest.mark.slow
def test_a_run_on_given_sides_is_resumed_from_another_folder(tmp_path):
    write_side_tables(tmp_path, train=40, val=20, test=20)
    sides = ("data.root=train.csv", "data.val_root=val.csv", "data.test_root=test.csv", "data.images=.")
    small = ("data=table", "data.split=given", "trainer.max_epochs=1", "model.num_filters=4", "model.feature_dim=4")
    assert run("train", *sides, *small, cwd=tmp_path).returncode == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = run("train", f"resume={only_run(tmp_path)}", "trainer.max_epochs=2", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert read_json(only_run(tmp_path) / "metrics.json")["epochs"] == 2


@pytest.mark.parametrize(
    ("overrides", "key", "rooted"),
    [
        (["vectors.path=words.txt"], "vectors.path", True),
        (["vectors=transformer", "vectors.model=here"], "vectors.model", True),
        (["vectors=transformer", "vectors.model=some/model"], "vectors.model", False),  # an id on the hub
        (["captioner=patches", "captioner.model=here"], "captioner.model", True),
        (["refit=true", "refit_from=sweep"], "refit_from", True),
    ],
)
def test_paths_of_a_resumed_run_start_in_the_folder_where_it_was_started(overrides, key, rooted, tmp_path):
    (tmp_path / "here").mkdir()
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("train", overrides=overrides)
    section, _, name = key.rpartition(".")
    before = composed[section][name] if section else composed[name]
    _root_paths(composed, tmp_path)
    after = composed[section][name] if section else composed[name]
    assert after == (str(tmp_path / before) if rooted else before)


@pytest.mark.slow
def test_a_job_of_a_sweep_keeps_its_name_and_group_in_wandb_when_it_is_resumed(tmp_path):
    started = run("train", "-m", *SMALL, "model.alpha=0.2", cwd=tmp_path, WANDB_MODE="offline")
    assert started.returncode == 0, started.stderr
    (job,) = (path.parent for path in tmp_path.glob("multirun/*/*/*/metrics.json"))
    done = run("train", f"resume={job}", "trainer.max_epochs=3", cwd=tmp_path, WANDB_MODE="offline")
    assert done.returncode == 0, done.stderr
    first, second = (read_finished_run(path) for path in sorted(job.glob("wandb/offline-run-*/run-*.wandb")))
    assert first.id == second.id
    assert first.name == second.name
    assert first.name.endswith("model.alpha=0.2")
    assert first.group == second.group == "-".join(job.parts[-3:-1])


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, (1, 130)), (signal.SIGTERM, (143,))])
def test_a_run_that_is_told_to_stop_says_how_to_go_on(how, code, tmp_path):
    endless = [*SMALL, "trainer.max_epochs=100000", "callbacks.convergence.patience=0"]
    process = subprocess.Popen([sys.executable, "-m", "safe_exp.train", *endless], cwd=tmp_path, env=environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("outputs/*/*/checkpoints/last.ckpt")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(how)
    _, printed = process.communicate(timeout=60)
    folder = only_run(tmp_path)
    assert process.returncode in code
    assert f"python -m safe_exp.train resume={folder.relative_to(tmp_path)}" in printed
    assert "Traceback" not in printed


IN_PROCESS_1 = """
import os
if os.environ.get("LOCAL_RANK") == "1":  # Lightning sets it for the processes that it starts
    import torch
    from safe_exp.system.errors import UserError
    from safe_exp.training.module import SafeModule

    def broken(self):
        raise UserError("the disk is gone; mount it again.")

    def drifting(self):
        with torch.no_grad():
            next(self.network.parameters()).mul_(1 + 1e-6)

"""


def run_two_processes(folder: Path, change: str) -> subprocess.CompletedProcess:
    (folder / "sitecustomize.py").write_text(f"{IN_PROCESS_1}    {change}\n")
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return run("train", *SMALL, "trainer=ddp", "trainer.accelerator=cpu", cwd=folder, timeout=120, PYTHONPATH=paths)


@pytest.mark.slow
def test_processes_whose_weights_drift_apart_are_an_error(tmp_path):
    done = run_two_processes(tmp_path, "SafeModule.on_train_epoch_end = drifting")
    assert done.returncode != 0
    status = read_json(only_run(tmp_path) / "status.json")
    assert status["state"] == "failed"
    assert "The processes have drifted apart: their weights differ" in status["reason"]
    assert not (only_run(tmp_path) / "metrics.json").exists()


@pytest.mark.slow
def test_a_process_that_fails_ends_the_job_as_failed_with_its_reason(tmp_path):
    done = run_two_processes(tmp_path, "SafeModule.on_validation_epoch_start = broken")
    assert done.returncode != 0
    status = read_json(only_run(tmp_path) / "status.json")
    assert status["state"] == "failed"
    assert status["reason"] == "in process 1: the disk is gone; mount it again."
    assert "the disk is gone; mount it again." in done.stderr
    assert "Traceback" not in done.stderr
