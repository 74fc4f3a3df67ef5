"""Jobs of several processes inside a multirun, on this processor."""

import pytest
import torch

from tests.commands import SMALL, read_json, run
from tests.sweep.test_sweeps import results, sweep_folder

TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "logger=none")


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_two_processes_share_each_job_of_a_sweep_and_a_failing_job_stops_no_other(tmp_path):
    done = run("train", "-m", *SMALL, *TWO, "seed=0,-1,1", cwd=tmp_path)
    assert done.returncode == 1
    folder = sweep_folder(tmp_path)
    assert not (tmp_path / "outputs").exists()  # no second tree
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["0", "1", "2"]
    states = [read_json(folder / str(number) / "status.json")["state"] for number in range(3)]
    assert states == ["finished", "failed", "finished"]
    for seed, number in ((0, 0), (1, 2)):
        alone = run("train", *SMALL, *TWO, f"seed={seed}", f"hydra.run.dir={tmp_path / f'alone{seed}'}", cwd=tmp_path)
        assert alone.returncode == 0, alone.stderr
        ours, theirs = weights(folder / str(number)), weights(tmp_path / f"alone{seed}")
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert results(folder).keys() == {0, 2}


@pytest.mark.slow
def test_two_processes_reach_the_metrics_of_one(tmp_path):
    """On the same global batches, the last of which is uneven: 38 training articles in batches of 16."""
    metrics, states = {}, {}
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        done = run("train", *SMALL, *TWO[:2], f"trainer.devices={devices}", "logger=none", "trainer.precision=64",
                   f"hydra.run.dir={folder}", cwd=tmp_path)  # fmt: skip
        assert done.returncode == 0, done.stderr
        metrics[devices], states[devices] = read_json(folder / "metrics.json"), weights(folder)
    for name in states[1]:
        torch.testing.assert_close(states[2][name], states[1][name], rtol=1e-9, atol=1e-12, msg=name)
    for split in ("val", "test"):
        for scorer in ("prediction", "similarity"):
            assert metrics[2][split][scorer] == pytest.approx(metrics[1][split][scorer], abs=1e-6)


@pytest.mark.slow
def test_a_launcher_that_cannot_start_processes_is_refused_with_the_way_out(tmp_path):
    done = run("train", "-m", *SMALL, *TWO, "seed=0,1", "hydra/launcher=joblib", cwd=tmp_path)
    assert done.returncode == 1
    reason = read_json(sweep_folder(tmp_path) / "0" / "status.json")["reason"]
    assert "the jobs of hydra/launcher=joblib run in processes that cannot start others" in reason
