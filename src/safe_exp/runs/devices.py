"""GPUs for each job that runs at the same time: taken by a lease, given back when the job ends, however it ends."""

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
    """The devices that this job may use, as Lightning's `devices`; None where the config decides.

    Jobs of a multirun that ask for a number of GPUs share what the machine has: every one of them would otherwise take
    the first ones. More jobs than devices wait for one another. trainer.devices=[0] names a device, and leases none.

    Args:
        trainer: the config's section.
    Raises:
        UserError: the machine has fewer GPUs than the job asks for.
    """
    wanted = _gpus_wanted_in_a_multirun(trainer)
    if wanted == 0 or (wanted > 1 and not needs_a_command_of_its_own(trainer)):
        yield None  # of several processes that share a job none may take the devices of all
        return
    with leased(visible_devices(), lease_folder(), wanted) as positions:
        yield positions


@contextmanager
def leased(names: Sequence[str], folder: Path, wanted: int = 1) -> Iterator[list[int]]:
    """Hold `wanted` of the devices `names`; yields their positions. Waits while too few are free.

    A lease is a lock on a file, which the system lets go of when the process ends: a job that is killed gives its
    devices back like any other.
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
    """Lock `wanted` free devices into `leases`; where fewer are free, none, so that two jobs never wait for each other
    with half of what they need."""
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
    """The GPUs that this process sees, in PyTorch's order, by names that all processes of the machine know them by.

    Not by number: under SLURM, or with CUDA_VISIBLE_DEVICES, number 0 is another device for each job.
    """
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]


def lease_folder() -> Path:
    """One for each user of this machine, whatever sweep a job belongs to."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"safe_exp-devices-{user}"


def _gpus_wanted_in_a_multirun(trainer: Any) -> int:
    if not in_multirun():
        return 0
    there_are_some = torch.cuda.device_count() > 0
    wants_gpu = trainer.accelerator in ("gpu", "cuda", "auto")
    if not wants_gpu or not there_are_some or not str(trainer.devices).isdecimal():
        return 0  # Lightning says what is wrong with GPUs that are not there
    return int(str(trainer.devices))
