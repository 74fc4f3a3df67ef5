"""Leases on devices that are only names: no two jobs hold one at a time."""

import multiprocessing
import os
import random
import signal
import time
from itertools import pairwise

import pytest
from hydra.core.hydra_config import HydraConfig

from safe_exp.runs import devices
from safe_exp.runs.devices import leased, visible_devices
from tests.made import compose_config

NAMES = ["0", "GPU-aa/1"]


def work(folder, seconds, log):
    with leased(NAMES, folder) as (index,):
        start = time.monotonic()
        time.sleep(seconds)
        with open(log, "a") as handle:
            handle.write(f"{index} {start} {time.monotonic()}\n")


def hold(folder, taken):
    with leased(NAMES, folder):
        taken.set()
        time.sleep(600)


@pytest.fixture
def processes(monkeypatch):
    monkeypatch.setattr(devices, "POLL_SECONDS", 0.01)
    return multiprocessing.get_context("fork")


def test_jobs_of_different_length_never_share_a_device_and_use_all_of_them(tmp_path, processes):
    lengths = [random.uniform(0.02, 0.2) for _ in range(10)]
    jobs = [processes.Process(target=work, args=(tmp_path / "leases", s, tmp_path / "log")) for s in lengths]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(timeout=60)
        assert job.exitcode == 0
    rows = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert len(rows) == len(jobs)
    assert {row[0] for row in rows} == {"0", "1"}
    for device in ("0", "1"):
        spans = sorted((float(start), float(end)) for index, start, end in rows if index == device)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_a_job_that_is_killed_gives_its_device_back(tmp_path, processes):
    holders = []
    for _ in NAMES:
        taken = processes.Event()
        holders.append(processes.Process(target=hold, args=(tmp_path, taken)))
        holders[-1].start()
        assert taken.wait(30)
    waiting = processes.Process(target=work, args=(tmp_path, 0, tmp_path / "log"))
    waiting.start()
    time.sleep(0.2)
    assert not (tmp_path / "log").exists()  # all are taken
    os.kill(holders[1].pid, signal.SIGKILL)
    waiting.join(timeout=30)
    assert (tmp_path / "log").read_text().startswith("1 ")
    holders[0].kill()


class Gpu:
    def __init__(self, number):
        self.uuid = f"uuid-{number}"


def test_devices_are_named_by_what_they_are_and_not_by_their_number(monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(devices.torch.cuda, "get_device_properties", Gpu)
    assert visible_devices() == ["uuid-0", "uuid-1"]


def test_a_job_takes_all_the_devices_it_needs_or_none(tmp_path, processes):
    three = ["0", "1", "2"]
    with leased(three, tmp_path, 2) as first, devices.ExitStack() as leases:
        assert first == [0, 1]
        assert devices._take(three, tmp_path, 2, leases) == [2]  # too few, so that one is not kept either
        with leased(three, tmp_path) as second:
            assert second == [2]
    with leased(three, tmp_path, 3) as all_three:
        assert all_three == [0, 1, 2]
    with pytest.raises(devices.UserError, match=r"trainer.devices=4: there are 3 GPUs. Set trainer.devices=3"):
        leased(three, tmp_path, 4).__enter__()


def test_only_jobs_of_a_multirun_that_ask_for_a_number_of_gpus_lease_them(monkeypatch, tmp_path):
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(devices.torch.cuda, "get_device_properties", Gpu)
    for name in ("LOCAL_RANK", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    with devices.devices_of_its_own(compose_config("trainer=gpu").trainer) as found:
        assert found is None  # a single run
    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(HydraConfig, "get", lambda: type("", (), {"mode": "MULTIRUN"}))
    monkeypatch.setattr(devices, "lease_folder", lambda: tmp_path)
    two, named = ["trainer=gpu", "trainer.devices=2"], ["trainer=gpu", "trainer.devices=[1]"]
    for overrides, expected in ((["trainer=gpu"], [0]), (two, [0, 1]), (["trainer=cpu"], None), (named, None)):
        with devices.devices_of_its_own(compose_config(*overrides).trainer) as found:
            assert found == expected
    monkeypatch.setenv("LOCAL_RANK", "1")
    with devices.devices_of_its_own(compose_config(*two).trainer) as found:
        assert found is None  # its job has the devices already
