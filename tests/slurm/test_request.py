"""The batch scripts that submitit writes for a sweep, read as sbatch would get them; no cluster is needed."""

import os
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins

from safe_exp.config import CONF
from safe_exp.sweep.shared_request import require_shared_request
from safe_exp.system.errors import UserError
from tests.commands import SMALL, run
from tests.made import compose_config

pytest.importorskip("hydra_plugins.hydra_submitit_launcher")

GPUS, TASKS, NODES = "--gpus-per-node", "--ntasks-per-node", "--nodes"


@pytest.fixture
def fake_slurm(tmp_path, monkeypatch):
    """Programs in the place of SLURM's: sbatch takes no job."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, content in (("sbatch", "#!/bin/sh\nexit 1\n"), ("srun", "#!/bin/sh\n")):
        (programs / name).write_text(content)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return programs


def compose_sweep(*overrides):
    compose_config()  # the schemas and resolvers
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=list(overrides), return_hydra_config=True)


def read_request(folder):
    """Read the options of the one batch script below `folder`; None for an option without a value."""
    (script,) = folder.glob("**/*submission*.sh")
    lines = [line.removeprefix("#SBATCH ") for line in script.read_text().splitlines() if line.startswith("#SBATCH ")]
    return {name: value or None for name, _, value in (line.partition("=") for line in lines)}


def write_script(tmp_path, *overrides):
    """Launch a sweep of two jobs with Hydra's launcher, and read the batch script that it hands to sbatch."""
    from submitit.core.utils import FailedJobError

    config = compose_sweep("hydra/launcher=slurm", f"hydra.sweep.dir={tmp_path / 'sweep'}", *overrides)
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=SimpleNamespace(), task_function=print, config=config
    )
    with pytest.raises(FailedJobError):  # by our sbatch
        launcher.launch([["seed=0"], ["seed=1"]], initial_job_idx=0)
    return read_request(tmp_path / "sweep")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], {NODES: "1", TASKS: "1"}),
        (["trainer=gpu"], {NODES: "1", TASKS: "1", GPUS: "1"}),
        (["trainer=gpu", "trainer.devices=2"], {NODES: "1", TASKS: "2", GPUS: "2"}),
        (["trainer=gpu", "trainer.devices=[0,1]"], {NODES: "1", TASKS: "2", GPUS: "2"}),
        (["trainer=gpu", "trainer.devices=auto"], {NODES: "1", TASKS: "1", GPUS: "1"}),
        (["trainer=gpu", "trainer.devices=4", "trainer.num_nodes=2"], {NODES: "2", TASKS: "4", GPUS: "4"}),
        (["trainer=ddp", "trainer.accelerator=cpu"], {NODES: "1", TASKS: "2"}),
        (["trainer=ddp", "trainer.accelerator=cuda"], {NODES: "1", TASKS: "2", GPUS: "2"}),
        (["trainer=gpu", "hydra.launcher.gres=gpu:a100:1"], {NODES: "1", TASKS: "1", "--gres": "gpu:a100:1"}),
        (["trainer=gpu", "hydra.launcher.gpus_per_task=1"], {NODES: "1", TASKS: "1", "--gpus-per-task": "1"}),
        (["trainer=gpu", "hydra.launcher.gpus_per_node=4"], {NODES: "1", TASKS: "1", GPUS: "4"}),
        (["trainer=gpu", "hydra.launcher.gpus_per_node=null"], {NODES: "1", TASKS: "1"}),
        (["trainer=ddp", "hydra.launcher.tasks_per_node=3"], {NODES: "1", TASKS: "3"}),
    ],
    ids=" ".join,
)
def test_a_batch_script_asks_for_the_devices_of_its_jobs(overrides, expected, fake_slurm, tmp_path):
    request = write_script(tmp_path, *overrides)
    options = (NODES, TASKS, GPUS, "--gres", "--gpus-per-task")
    assert {name: value for name, value in request.items() if name in options} == expected
    assert request["--array"] == "0-1%2"
    assert request["--signal"] == "USR2@120"


def test_jobs_with_different_devices_are_refused_in_one_array():
    sweep = compose_sweep("hydra/launcher=slurm").hydra.launcher
    cpu, gpu = (compose_sweep("hydra/launcher=slurm", f"trainer={name}").hydra.launcher for name in ("cpu", "gpu"))
    require_shared_request(sweep, cpu, ["trainer=cpu"])
    with pytest.raises(
        UserError, match=r"trainer=gpu: this job needs hydra.launcher.gpus_per_node=1, .* asks for None"
    ):
        require_shared_request(sweep, gpu, ["trainer=gpu"])
    basic = compose_sweep("trainer=gpu").hydra.launcher  # Hydra's own, which asks for nothing
    require_shared_request(basic, basic, ["trainer=gpu"])


@pytest.mark.slow
def test_a_command_asks_sbatch_for_gpus_and_refuses_a_sweep_over_devices(fake_slurm, tmp_path):
    done = run("train", "-m", *SMALL, "hydra/launcher=slurm", "trainer=gpu", "seed=0,1", cwd=tmp_path)
    assert (done.returncode, "The launcher could start no job." in done.stderr) == (1, True), done.stderr
    assert read_request(tmp_path)[GPUS] == "1"
    done = run("train", "-m", *SMALL, "hydra/launcher=slurm", "trainer=cpu,gpu", cwd=tmp_path)
    assert done.returncode == 1
    assert "one SLURM array, with one request for all" in done.stderr
    assert "Traceback" not in done.stderr
