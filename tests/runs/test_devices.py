"""Leases on devices that are only names: no two jobs hold one at a time."""

import multiprocessing
import os
import random
import signal
import time
from itertools import pairwise

import pytest
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from safe_exp.runs import devices
from safe_exp.runs.devices import leased, visible_devices
from tests.made import compose_config

NAMES = ["0", "GPU-aa/1"]


def work(folder, seconds, log, holders=1):
    with leased(NAMES, folder, holders=holders) as (index,):
        start = time.monotonic()
        time.sleep(seconds)
        with open(log, "a") as handle:
            handle.write(f"{index} {start} {time.monotonic()}\n")


def hold(folder, taken, wanted=1, holders=1):
    with leased(NAMES, folder, wanted, holders):
        taken.set()
        time.sleep(600)


@pytest.fixture
def processes(monkeypatch):
    monkeypatch.setattr(devices, "POLL_SECONDS", 0.01)
    return multiprocessing.get_context("fork")


def run_to_their_end(jobs, log):
    """Run processes of `work`; return the device, start and end of each, as they stand in its log."""
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(timeout=60)
        assert job.exitcode == 0
    rows = [line.split() for line in log.read_text().splitlines()]
    assert len(rows) == len(jobs)
    return rows


def test_jobs_of_different_length_never_share_a_device_and_use_all_of_them(tmp_path, processes):
    lengths = [random.uniform(0.1, 0.4) for _ in range(10)]
    jobs = [processes.Process(target=work, args=(tmp_path / "leases", s, tmp_path / "log")) for s in lengths]
    rows = run_to_their_end(jobs, tmp_path / "log")
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


def test_no_more_than_four_jobs_share_a_device(tmp_path, processes):
    jobs = [processes.Process(target=work, args=(tmp_path / "leases", 0.1, tmp_path / "log", 4)) for _ in range(20)]
    rows = run_to_their_end(jobs, tmp_path / "log")
    for device in ("0", "1"):
        spans = [(float(start), float(end)) for index, start, end in rows if index == device]
        together = [sum(start <= moment < end for start, end in spans) for moment, _ in spans]
        assert max(together, default=0) <= 4


def test_shares_and_whole_devices_exclude_each_other(tmp_path):
    def take(holders, wanted=1):
        with devices.ExitStack() as leases:
            found = devices._take(NAMES, tmp_path, wanted, leases, holders)
            return found if len(found) == wanted else None

    with leased(NAMES, tmp_path, holders=4) as share:
        assert share == [0]
        assert take(1) == [1]
        assert take(1, wanted=2) is None
        assert take(4) == [1]
        with leased(NAMES, tmp_path) as whole:
            assert whole == [1]
            assert take(1) is None
            assert take(4) == [0]
            assert take(2) == [0]
            with leased(NAMES, tmp_path, holders=2) as half:  # of a sweep with another jobs_per_gpu
                assert half == [0]
                assert take(2) is None
                with leased(NAMES, tmp_path, holders=4) as last:
                    assert last == [0]
                    assert take(4) is None
    assert take(1, wanted=2) == [0, 1]


def test_the_lock_of_an_earlier_version_is_one_of_a_whole_device(tmp_path):
    with FileLock(tmp_path / "device-GPU-aa_1.lock"), leased(NAMES, tmp_path, holders=4) as first:
        assert first == [0]
        with leased(NAMES, tmp_path, holders=4) as second:
            assert second == [0]


def test_a_share_whose_holder_is_killed_is_free_again(tmp_path, processes):
    taken = processes.Event()
    holder = processes.Process(target=hold, args=(tmp_path, taken, 1, 2))
    holder.start()
    assert taken.wait(30)
    with devices.ExitStack() as leases:
        assert devices._take(NAMES, tmp_path, 2, leases) == [1]
    holder.kill()
    holder.join()
    with leased(NAMES, tmp_path, 2) as both:
        assert both == [0, 1]


def test_a_process_comes_back_to_the_device_where_it_keeps_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(devices._Latest, "names", {NAMES[1]})
    with leased(NAMES, tmp_path, holders=2) as (index,):
        assert index == 1
        with leased(NAMES, tmp_path, holders=2) as other:
            assert other == [0]  # the emptier one comes first


class Gpu:
    def __init__(self, number):
        self.uuid = f"uuid-{number}"


def test_devices_are_named_by_what_they_are_and_not_by_their_number(monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(devices.torch.cuda, "get_device_properties", Gpu)
    assert visible_devices() == ["uuid-0", "uuid-1"]


def test_a_slice_of_a_gpu_has_the_name_that_chose_it(monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(devices.torch.cuda, "get_device_properties", Gpu)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-aa, MIG-bb")
    assert visible_devices() == ["MIG-aa"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-cc")
    assert visible_devices() == ["uuid-0"]


def refuse_to_wait(_):
    raise TimeoutError


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
    sweep = OmegaConf.create({"mode": "MULTIRUN", "launcher": {"_target_": "Basic"}})
    monkeypatch.setattr(HydraConfig, "get", lambda: sweep)
    monkeypatch.setattr(devices, "lease_folder", lambda: tmp_path)
    two, named = ["trainer=gpu", "trainer.devices=2"], ["trainer=gpu", "trainer.devices=[1]"]
    for overrides, expected in ((["trainer=gpu"], [0]), (two, [0, 1]), (["trainer=cpu"], None), (named, None)):
        with devices.devices_of_its_own(compose_config(*overrides).trainer) as found:
            assert found == expected
    sweep.launcher.jobs_per_gpu = 4
    gpu, both = compose_config("trainer=gpu").trainer, compose_config(*two).trainer
    of_its_own = devices.devices_of_its_own
    with of_its_own(gpu) as one, of_its_own(gpu) as another, of_its_own(gpu) as shared:
        assert one != another  # the emptier GPU
        assert shared in (one, another)
        monkeypatch.setattr(devices.time, "sleep", refuse_to_wait)
        with pytest.raises(TimeoutError):
            of_its_own(both).__enter__()  # whole GPUs, of which none is left
    monkeypatch.setenv("LOCAL_RANK", "1")
    with devices.devices_of_its_own(compose_config(*two).trainer) as found:
        assert found is None  # its job has the devices already
