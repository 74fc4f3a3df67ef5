import re
import signal
import subprocess
import sys

import pytest
from pytorch_lightning.plugins.environments import LightningEnvironment

from safe_exp.training.machines import describe_wait
from tests.commands import SMALL, environment, read_json


@pytest.fixture
def two_machines(monkeypatch):
    for name in ("NODE_RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_PORT", "1234")
    return monkeypatch


def test_the_first_machine_says_how_the_others_are_started(two_machines, tmp_path):
    told = describe_wait(2, LightningEnvironment(), tmp_path)
    assert "waiting for machine 1 at port 1234" in told
    assert f"hydra.run.dir={tmp_path}" in told
    assert "NODE_RANK=1 MASTER_PORT=1234 MASTER_ADDR=ADDRESS (of this machine" in told
    two_machines.setenv("MASTER_ADDR", "node-0")
    assert "machine 1 to 2 at port 1234" in describe_wait(3, LightningEnvironment(), tmp_path)
    assert "NODE_RANK=1, 2, … MASTER_PORT=1234 MASTER_ADDR=node-0." in describe_wait(
        3, LightningEnvironment(), tmp_path
    )


def test_another_machine_says_whom_it_waits_for(two_machines, tmp_path):
    two_machines.setenv("NODE_RANK", "1")
    two_machines.setenv("MASTER_ADDR", "node-0")
    assert "Machine 1 of 0 to 1: waiting for machine 0 at node-0:1234" in describe_wait(
        2, LightningEnvironment(), tmp_path
    )


@pytest.mark.slow
def test_the_wait_ends_by_ctrl_c_or_when_the_other_machine_comes(tmp_path):
    def start(folder, **settings):
        command = [sys.executable, "-m", "safe_exp.train", *SMALL, "trainer.num_nodes=2", f"hydra.run.dir={folder}"]
        settings = environment(MASTER_ADDR="127.0.0.1", **settings)
        return subprocess.Popen(command, cwd=tmp_path, env=settings, stderr=subprocess.PIPE, text=True)

    def port(process):
        return next(found[1] for line in process.stderr if (found := re.search(r"machine 1 at port (\d+)", line)))

    stopped = start("stopped")
    port(stopped)
    stopped.send_signal(signal.SIGINT)
    assert stopped.wait(20) == -signal.SIGINT
    first = start("run")
    second = start("run", NODE_RANK="1", MASTER_PORT=port(first))
    assert (second.communicate(timeout=120)[1] is not None, second.returncode) == (True, 0)
    assert (first.communicate(timeout=120)[1] is not None, first.returncode) == (True, 0)
    assert read_json(tmp_path / "run" / "status.json")["state"] == "finished"
