"""hydra/launcher=gpus, with GPUs that are only names."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from hydra_plugins.safe_exp_gpus import GpuLauncher
from hydra_plugins.safe_exp_stacked import StackedLauncher
from safe_exp.config import CONF
from safe_exp.runs import devices
from safe_exp.sweep.gpus import count_jobs_at_a_time
from safe_exp.system.errors import UserError
from tests.commands import environment, read_json, run
from tests.made import compose_config
from tests.sweep.test_sweep import LONG, TINY, results, sweep_folder, wait_for

ON_GPUS = ("-m", "trainer=gpu", "hydra/launcher=gpus")
TESTS = Path(__file__).parents[2]


def jobs(*commands: str) -> list:
    compose_config()  # the schemas and resolvers
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return [compose("train", overrides=command.split(), return_hydra_config=True) for command in commands]


@pytest.fixture
def eight_gpus(monkeypatch):
    monkeypatch.setattr(devices, "count_devices", lambda: 8)


@pytest.mark.usefixtures("eight_gpus")
@pytest.mark.parametrize(
    ("commands", "per_gpu", "expected"),
    [
        (("trainer=gpu",), 1, 8),
        (("trainer=gpu",), 4, 32),
        (("trainer=ddp trainer.devices=2",), 1, 4),
        (("trainer=ddp trainer.devices=3",), 4, 2),  # several GPUs are leased whole
        (("trainer=ddp trainer.devices=8", "trainer=gpu"), 2, 16),  # the first one waits for all
    ],
)
def test_as_many_jobs_run_at_a_time_as_the_gpus_have_room_for(commands, per_gpu, expected):
    assert count_jobs_at_a_time(jobs(*commands), per_gpu) == expected


@pytest.mark.usefixtures("eight_gpus")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("trainer=cpu", "ask for trainer.accelerator=cpu. Add trainer=gpu"),
        ("trainer=ddp trainer.devices=9", "trainer.devices=9: there are 8 GPUs. Set trainer.devices=8 or fewer"),
        ("trainer=gpu trainer.devices=[0]", r"trainer.devices=\[0\]: .* must be their number"),
        ("trainer=gpu trainer.devices=-1", "trainer.devices=-1: .* must be their number"),
    ],
)
def test_jobs_that_the_launcher_cannot_place_are_refused(command, message):
    with pytest.raises(UserError, match=message):
        count_jobs_at_a_time(jobs("trainer=gpu", command), 1)


@pytest.mark.parametrize("value", [0, -1, "four", 1.5, True])
@pytest.mark.parametrize(
    ("launcher", "key"),
    [(GpuLauncher, "jobs_per_gpu"), *((StackedLauncher, key) for key in ("most_runs", "writers", "processes"))],
)
def test_numbers_of_a_launcher_are_checked_before_the_sweep(launcher, key, value):
    with pytest.raises(UserError, match=f"hydra.launcher.{key}={value}: expected a whole number >= 1"):
        launcher(**{key: value}).setup(hydra_context=None, task_function=print, config=None)
    launcher(**{key: 1}).setup(hydra_context=None, task_function=print, config=None)


def test_jobs_of_other_commands_are_refused():
    compose_config()
    with (
        initialize_config_dir(str(CONF), version_base="1.3"),
        pytest.raises(UserError, match=r"jobs of safe_exp\.train"),
    ):
        count_jobs_at_a_time([compose("prepare", return_hydra_config=True)], 1)


def test_without_a_gpu_there_is_one_message_and_no_folder(tmp_path):
    done = run("train", *ON_GPUS, *TINY, "seed=0,1", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert "hydra/launcher=gpus: no GPU is visible here" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Jobs" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def start(place: Path, *arguments: str, **extra: str) -> subprocess.Popen:
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "tests.sweep.fake_gpus", *arguments], cwd=place, text=True, start_new_session=True,
        env=environment(PYTHONPATH=path, FAKE_GPUS=place.name + str(os.getpid()), **extra),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def printed_devices(folder: Path) -> dict[int, list[int]]:
    """Read the devices that each job was given, from its output."""
    found = {}
    for path in folder.glob("*/logs/output.log"):
        for line in re.findall(r"^seed \d+, gpu (\[.*\]),", path.read_text(), re.MULTILINE):
            found[int(path.parents[1].name)] = json.loads(line)
    return found


@pytest.mark.slow
def test_a_job_that_is_killed_stops_no_other_and_the_sweep_is_resumed(tmp_path):
    process = start(tmp_path, *ON_GPUS, *TINY, "seed=0,-1,13,4", FATAL_SEED="13")
    _, printed = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "Traceback" not in printed
    assert "4 jobs, 2 at a time" in printed
    assert re.search(r"#0 : finished, val/loss_prediction 0\.\d+", printed)
    assert "#1 : failed: seed=-1: expected a whole number" in printed
    assert "#2 : interrupted: The process of this job was killed (SIGKILL)." in printed
    assert "2 of 4 jobs did not finish" in printed
    folder = sweep_folder(tmp_path)
    states = [read_json(folder / str(number) / "status.json")["state"] for number in range(4)]
    assert states == ["finished", "failed", "interrupted", "finished"]
    assert all(found in ([0], [1]) for found in printed_devices(folder).values())
    assert "run folder" in (folder / "3" / "logs" / "output.log").read_text()
    assert "run folder" not in printed  # lines of jobs at the same time would be mixed

    four_each = ("hydra/launcher=gpus", "hydra.launcher.jobs_per_gpu=4")
    process = start(tmp_path, f"resume_sweep={folder}", *four_each)
    _, printed = process.communicate(timeout=300)
    assert process.returncode == 1, printed
    assert "2 jobs, 2 at a time" in printed
    assert results(folder).keys() == {0, 2, 3}
    assert read_json(folder / "2" / "status.json")["resumed"] == 1


@pytest.mark.slow
def test_an_interruption_reaches_every_job_and_its_status(tmp_path):
    process = start(tmp_path, *ON_GPUS, *LONG, "seed=0,1,2")
    wait_for(lambda: len(list(tmp_path.glob("multirun/*/*/[01]/checkpoints/last.ckpt"))) == 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, printed = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "Traceback" not in printed
    folder = sweep_folder(tmp_path)
    for name in "01":
        status = read_json(folder / name / "status.json")
        assert (status["state"], status["reason"]) == ("interrupted", "interrupted from the keyboard")
    assert not (folder / "2" / "status.json").exists()
    assert f"To go on: python -m safe_exp.train -m resume_sweep={folder.relative_to(tmp_path)}" in printed
    assert printed_devices(folder) in ({0: [0], 1: [1]}, {0: [1], 1: [0]})
