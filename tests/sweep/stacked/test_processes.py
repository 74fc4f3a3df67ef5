"""Stacks that are trained at the same time, in processes of their own."""

import os
import signal
import time
from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.utils import JobStatus
from omegaconf import open_dict

from safe_exp.cli.resolvers import register_resolvers
from safe_exp.config import CONF
from safe_exp.runs import devices
from safe_exp.sweep.stacked import processes
from safe_exp.sweep.stacked.grouping import StackMember
from safe_exp.sweep.stacked.processes import count_processes, run_in_processes
from safe_exp.sweep.stacked.progress import StackProgress
from safe_exp.sweep.stacked.running import run_stacks
from safe_exp.system.workers import LostWorker
from tests.commands import SMALL, read_json, read_metrics
from tests.made import compose_config
from tests.sweep.stacked.jobs import checkpoint
from tests.sweep.test_gpus import start
from tests.sweep.test_sweep import LONG, sweep_folder, wait_for

register_resolvers()  # here, since the processes that unpickle NoCallbacks import this module


class NoCallbacks:
    """Hydra's callbacks of a sweep that has none."""

    def on_job_start(self, **_) -> None:
        pass

    def on_job_end(self, **_) -> None:
        pass


def make_stacks(place, *sizes: int) -> tuple[list[list[StackMember]], SimpleNamespace]:
    """Compose stacks of jobs whose numbers of filters differ, and a launcher."""
    compose_config()  # the schemas and resolvers
    stacks, number = [], 0
    for filters, size in enumerate(sizes, start=2):
        stacks.append([])
        for seed in range(size):
            job = (*SMALL, f"model.num_filters={filters}", f"seed={seed}", "logger=none", "hydra/launcher=stacked")
            where = (f"hydra.sweep.dir={place}", f"hydra.sweep.subdir={number}", "hydra.mode=MULTIRUN")
            with initialize_config_dir(str(CONF), version_base="1.3"):
                composed = compose("train", overrides=[*job, *where], return_hydra_config=True)
            with open_dict(composed):
                composed.hydra.job.id = composed.hydra.job.num = number
                composed.hydra.job.name = "train"
                composed.hydra.runtime.output_dir = str(place / str(number))
            stacks[-1].append(StackMember(number, composed, compose_config(*job[:-1])))
            number += 1
    context = SimpleNamespace(callbacks=NoCallbacks())
    return stacks, SimpleNamespace(hydra_context=context, config=stacks[0][0].composed)


def assert_equal_to_the_last_bit(ours, theirs) -> None:
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            assert_equal_to_the_last_bit(ours[key], theirs[key])
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert_equal_to_the_last_bit(mine, other)
    elif isinstance(theirs, torch.Tensor):
        assert torch.equal(ours, theirs)
    else:
        assert ours == theirs


@pytest.mark.slow
def test_two_processes_leave_what_one_leaves_to_the_last_bit(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    one, two = tmp_path / "one", tmp_path / "two"
    stacks, launcher = make_stacks(one, 2, 1)
    expected = run_stacks(stacks, 1, StackProgress(3))
    stacks, launcher = make_stacks(two, 2, 1)
    progress = StackProgress(3)
    caplog.set_level("INFO")
    returned = run_in_processes(stacks, 2, launcher, 2, progress)
    assert progress.written == 3
    assert returned.keys() == expected.keys() == {0, 1, 2}
    for number, result in returned.items():
        assert result.status is JobStatus.COMPLETED
        assert result.return_value == expected[number].return_value
        ours, theirs = two / str(number), one / str(number)
        assert (ours / "predictions.csv").read_bytes() == (theirs / "predictions.csv").read_bytes()
        for name in ("best", "last"):
            for part in ("state_dict", "optimizer_states"):
                assert_equal_to_the_last_bit(checkpoint(ours, name)[part], checkpoint(theirs, name)[part])
        metrics = [read_metrics(folder) for folder in (ours, theirs)]
        assert metrics[0] == metrics[1]
        assert read_json(ours / "status.json")["pid"] != os.getpid()
        assert any(line.startswith(f"#{number} ") for line in caplog.messages)


@pytest.mark.slow
def test_with_two_gpus_a_stack_becomes_two_and_ctrl_c_reaches_both(tmp_path):
    process = start(tmp_path, "-m", "trainer=gpu", "hydra/launcher=stacked", *LONG, "seed=0,1,2,3")
    wait_for(lambda: len(list(tmp_path.glob("multirun/*/*/[0-3]/logs/run.log"))) == 4, 300)
    time.sleep(1)  # some epochs
    os.killpg(process.pid, signal.SIGINT)
    _, printed = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "Traceback" not in printed
    assert "Stacked: 2 jobs, #0-1" in printed
    assert "Stacked: 2 jobs, #2-3" in printed
    assert {line for line in printed.splitlines() if "A stack on" in line} == {
        "A stack on gpu [0]", "A stack on gpu [1]"
    }  # fmt: skip
    assert printed.count("Stopping: the files") == 1
    folder = sweep_folder(tmp_path)
    for number in range(4):
        assert read_json(folder / str(number) / "status.json")["state"] == "interrupted"
    assert f"resume_sweep={folder.relative_to(tmp_path)}" in printed


def test_a_stack_whose_process_is_killed_fails_alone(tmp_path, monkeypatch, caplog):
    stacks, launcher = make_stacks(tmp_path, 2, 1)

    def lose_the_first(tasks, count, run, ended, received):
        assert (len(tasks), count, run.writers) == (2, 2, 1)
        received(0, ("begin", 2, 10))
        received(1, ("begin", 1, 10))
        received(1, ("log", "safe_exp.somewhere", 30, "%s", "a warning"))
        ended(0, LostWorker("The process of this job was killed (SIGKILL)."))
        ended(1, {2: "its result"})

    monkeypatch.setattr(processes, "run_in_workers", lose_the_first)
    returned = run_in_processes(stacks, 2, launcher, 2, StackProgress(3))
    assert returned[2] == "its result"
    for number in (0, 1):
        assert returned[number].status is JobStatus.FAILED
        with pytest.raises(LostWorker):
            _ = returned[number].return_value
    assert "a warning" in caplog.messages
    assert "The stack of 2 jobs broke off: The process of this job was killed (SIGKILL)." in caplog.messages


def test_there_is_a_process_for_each_gpu_and_on_the_cpu_one(monkeypatch):
    monkeypatch.setattr(devices, "count_devices", lambda: 4)
    cpu, gpu = compose_config(), compose_config("trainer=gpu")
    assert count_processes(None, [cpu, cpu]) == 1
    assert count_processes(None, [gpu]) == 4
    assert count_processes(2, [gpu]) == 2
    assert count_processes(2, [cpu]) == 2
    monkeypatch.setattr(devices, "count_devices", lambda: 0)
    assert count_processes(None, [gpu]) == 1  # whose training says that there is none
