"""Leases on GPUs, for jobs that run at the same time on one machine.

A lease is a lock on a file, which the system releases when the process ends: a job that is killed gives its GPUs back
like any other. A lease is of a whole device, or of a share of it: 1 of 4 lets three others have the same device.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from safe_exp.runs.processes import in_multirun, needs_a_command_of_its_own
from safe_exp.system.errors import UserError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


@contextmanager
def devices_of_its_own(trainer: Any) -> Iterator[list[int] | None]:
    """Yield the GPUs that this job may use, as Lightning's `devices`; None where the config decides.

    Jobs of a multirun that ask for a number of GPUs share those of the machine: otherwise each would take the first
    ones. Jobs wait while too few GPUs are free. trainer.devices=[0] names a GPU, and leases none. A job that asks for
    one GPU gets a share of it if hydra.launcher.jobs_per_gpu says so.

    Args:
        trainer: the config's section of that name.
    Raises:
        UserError: the machine has fewer GPUs than the job asks for.
    """
    wanted = _gpus_wanted_in_a_multirun(trainer)
    if wanted == 0 or (wanted > 1 and not needs_a_command_of_its_own(trainer)):
        yield None  # one of several processes of a job, which must not take the devices of all
        return
    names, holders = visible_devices(), _jobs_per_gpu() if wanted == 1 else 1
    with leased(names, lease_folder(), wanted, holders) as positions:
        log.debug("GPUs of this job: %s; jobs on each: %d.", [names[position] for position in positions], holders)
        try:
            yield positions
        finally:
            _free_memory()


@contextmanager
def leased(names: Sequence[str], folder: Path, wanted: int = 1, holders: int = 1) -> Iterator[list[int]]:
    """Hold leases on `wanted` of the devices; yield their positions in `names`. Wait while too few are free.

    The devices with the fewest holders are taken first.

    Args:
        names: of all devices, the same in every process of the machine.
        folder: of the lock files; made if it is missing.
        holders: of a device, this one included. 1 leases whole devices, which nobody else has a share of.
    Raises:
        UserError: there are fewer devices than are wanted.
    """
    if wanted > len(names):
        raise UserError(f"trainer.devices={wanted}: there are {len(names)} GPUs. Set trainer.devices={len(names)}.")
    folder.mkdir(parents=True, exist_ok=True)
    told = False
    with ExitStack() as leases:
        while True:
            positions = _take(names, folder, wanted, leases, holders)
            if len(positions) == wanted:
                _Latest.names = {names[position] for position in positions}
                yield positions
                return
            if not told:
                log.info(
                    "%d of %d GPUs are free, and this job needs %d; it waits until other jobs end. "
                    "(trainer.devices=[0] would share the first GPU with them.)", len(positions), len(names), wanted,
                )  # fmt: skip
                told = True
            time.sleep(POLL_SECONDS)


class _Latest:
    """The devices that this process has leased last, where PyTorch keeps memory until the process ends."""

    names: frozenset[str] | set[str] = frozenset()


def _take(names: Sequence[str], folder: Path, wanted: int, leases: ExitStack, holders: int = 1) -> list[int]:
    """Lock a share, 1 of `holders`, of `wanted` devices into `leases` and return their positions.

    Where fewer have room, their positions are returned and none is locked: two jobs that each held half of what they
    need would wait for each other.
    """
    with ExitStack() as taken, FileLock(folder / "choosing.lock"):
        loads = [_load(name, folder) for name in names]
        free = [position for position, load in enumerate(loads) if load + Fraction(1, holders) <= 1]
        free.sort(key=lambda position: (loads[position], names[position] not in _Latest.names, position))
        positions = sorted(free[:wanted])
        for position in positions:
            taken.callback(_lock_a_share(names[position], folder, holders).release)
        if len(positions) == wanted:
            leases.push(taken.pop_all())
    return positions


def _load(name: str, folder: Path) -> Fraction:
    """Add up the shares of a device that are held, 1 for the whole device; choosing.lock must be held."""
    load = Fraction(0)
    for path in folder.glob(f"{_file_name(name)}*.lock"):
        match = re.fullmatch(rf"{_file_name(name)}(?:\.1of(\d+)-\d+)?\.lock", path.name)
        if match and (lock := _try_lock(path)) is None:
            load += Fraction(1, int(match[1] or 1))
        elif match and lock is not None:
            lock.release()
    return load


def _lock_a_share(name: str, folder: Path, holders: int) -> FileLock:
    """Lock the first free share of a device that has one; the file's name tells its size."""
    files = [f"{_file_name(name)}.1of{holders}-{number}.lock" for number in range(holders)]
    files = [f"{_file_name(name)}.lock"] if holders == 1 else files
    return next(lock for file in files if (lock := _try_lock(folder / file)) is not None)


def _try_lock(path: Path) -> FileLock | None:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _file_name(device: str) -> str:
    return f"device-{re.sub(r'[^A-Za-z0-9-]', '_', device)}"


def _free_memory() -> None:
    """Give the memory that PyTorch keeps for later back to the GPUs, for jobs of other processes."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def count_devices() -> int:
    """Count the GPUs that this process sees, without starting to use them."""
    return torch.cuda.device_count()


def visible_devices() -> list[str]:
    """List the UUIDs of the GPUs that this process sees, in PyTorch's order.

    Numbers would not do: under SLURM, or with CUDA_VISIBLE_DEVICES, number 0 is another device for each job. A slice of
    a GPU (MIG) is named as in CUDA_VISIBLE_DEVICES: its GPU's UUID is that of other slices too.
    """
    count = count_devices()
    chosen = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    if chosen[0].startswith("MIG-"):  # CUDA shows a process one slice, the first that is named
        return chosen[:count]
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(count)]


def lease_folder() -> Path:
    """Return the folder of the lock files: one for each user of this machine, shared by all sweeps."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"safe_exp-devices-{user}"


def _gpus_wanted_in_a_multirun(trainer: Any) -> int:
    """Count the GPUs that a job of a multirun asks for by number; 0 for any other job."""
    if not in_multirun():
        return 0
    there_are_some = count_devices() > 0
    wants_gpu = trainer.accelerator in ("gpu", "cuda", "auto")
    if not wants_gpu or not there_are_some or not str(trainer.devices).isdecimal():
        return 0  # Lightning says what is wrong with GPUs that are not there
    return int(str(trainer.devices))


def _jobs_per_gpu() -> int:
    """Read the number of jobs that may have a GPU at a time; 1 for a launcher without that key."""
    return int(OmegaConf.select(HydraConfig.get().launcher, "jobs_per_gpu", default=1))
