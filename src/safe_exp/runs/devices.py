"""Leases on GPUs, for jobs that run at the same time on one machine.

A lease is a lock on a file, which the system releases when the process ends: a job that is killed gives its GPUs back
like any other.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from safe_exp.runs.processes import in_multirun, needs_a_command_of_its_own
from safe_exp.system.errors import UserError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


@contextmanager
def devices_of_its_own(trainer: Any) -> Iterator[list[int] | None]:
    """Yield the GPUs that this job may use, as Lightning's `devices`; None where the config decides.

    Jobs of a multirun that ask for a number of GPUs share those of the machine: otherwise each would take the first
    ones. Jobs wait while too few GPUs are free. trainer.devices=[0] names a GPU, and leases none.

    Args:
        trainer: the config's section of that name.
    Raises:
        UserError: the machine has fewer GPUs than the job asks for.
    """
    wanted = _gpus_wanted_in_a_multirun(trainer)
    if wanted == 0 or (wanted > 1 and not needs_a_command_of_its_own(trainer)):
        yield None  # one of several processes of a job, which must not take the devices of all
        return
    with leased(visible_devices(), lease_folder(), wanted) as positions:
        yield positions


@contextmanager
def leased(names: Sequence[str], folder: Path, wanted: int = 1) -> Iterator[list[int]]:
    """Hold leases on `wanted` of the devices; yield their positions in `names`. Wait while too few are free.

    Args:
        names: of all devices, the same in every process of the machine.
        folder: of the lock files; made if it is missing.
    Raises:
        UserError: there are fewer devices than are wanted.
    """
    if wanted > len(names):
        raise UserError(f"trainer.devices={wanted}: there are {len(names)} GPUs. Set trainer.devices={len(names)}.")
    folder.mkdir(parents=True, exist_ok=True)
    told = False
    with ExitStack() as leases:
        while True:
            positions = _take(names, folder, wanted, leases)
            if len(positions) == wanted:
                yield positions
                return
            if not told:
                log.info(
                    "%d of %d GPUs are free, and this job needs %d; it waits until other jobs end. "
                    "(trainer.devices=[0] would share the first GPU with them.)", len(positions), len(names), wanted,
                )  # fmt: skip
                told = True
            time.sleep(POLL_SECONDS)


def _take(names: Sequence[str], folder: Path, wanted: int, leases: ExitStack) -> list[int]:
    """Lock `wanted` free devices into `leases` and return their positions.

    Where fewer are free, their positions are returned and none is locked: two jobs that each held half of what they
    need would wait for each other.
    """
    positions = []
    with ExitStack() as taken, FileLock(folder / "choosing.lock"):
        for position, name in enumerate(names):
            lock = FileLock(folder / f"device-{re.sub(r'[^A-Za-z0-9-]', '_', name)}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            taken.callback(lock.release)
            positions.append(position)
            if len(positions) == wanted:
                leases.push(taken.pop_all())
                break
    return positions


def visible_devices() -> list[str]:
    """List the UUIDs of the GPUs that this process sees, in PyTorch's order.

    Numbers would not do: under SLURM, or with CUDA_VISIBLE_DEVICES, number 0 is another device for each job.
    """
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]


def lease_folder() -> Path:
    """Return the folder of the lock files: one for each user of this machine, shared by all sweeps."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"safe_exp-devices-{user}"


def _gpus_wanted_in_a_multirun(trainer: Any) -> int:
    """Count the GPUs that a job of a multirun asks for by number; 0 for any other job."""
    if not in_multirun():
        return 0
    there_are_some = torch.cuda.device_count() > 0
    wants_gpu = trainer.accelerator in ("gpu", "cuda", "auto")
    if not wants_gpu or not there_are_some or not str(trainer.devices).isdecimal():
        return 0  # Lightning says what is wrong with GPUs that are not there
    return int(str(trainer.devices))
