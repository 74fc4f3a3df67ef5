"""A GPU for each job that runs at the same time: taken by a lease, given back when the job ends, however it ends."""

from __future__ import annotations

import getpass
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from safe_exp.config import TrainerConfig

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


@contextmanager
def device_of_its_own(config: TrainerConfig) -> Iterator[list[int] | None]:
    """The device that this job may use, as Lightning's `devices`; None where the config decides.

    Jobs of a multirun that ask for one GPU each share what the machine has: every one of them would otherwise take the
    first. More jobs than devices wait for one another.
    """
    if not _one_gpu_in_a_multirun(config):
        yield None
        return
    with leased(visible_devices(), lease_folder()) as index:
        yield [index]


@contextmanager
def leased(names: Sequence[str], folder: Path) -> Iterator[int]:
    """Hold one of the devices `names`; yields its position. Waits while all are taken.

    The lease is a lock on a file, which the system lets go of when the process ends: a job that is killed gives its
    device back like any other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        for index, name in enumerate(names):
            lock = FileLock(folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', name)}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield index
            finally:
                lock.release()
            return
        if not told:
            log.info("All %d devices are taken by other jobs; waiting for one.", len(names))
            told = True
        time.sleep(POLL_SECONDS)


def visible_devices() -> list[str]:
    """The machine's own names of the GPUs that this process sees, in PyTorch's order."""
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[: torch.cuda.device_count()] or [str(index) for index in range(torch.cuda.device_count())]


def lease_folder() -> Path:
    """One for each user of this machine, whatever sweep a job belongs to."""
    return Path(tempfile.gettempdir()) / f"safe_exp-devices-{getpass.getuser()}"


def _one_gpu_in_a_multirun(config: TrainerConfig) -> bool:
    if not HydraConfig.initialized() or HydraConfig.get().mode not in (RunMode.MULTIRUN, "MULTIRUN"):
        return False
    wants_gpu = config.accelerator in ("gpu", "cuda") or (config.accelerator == "auto" and torch.cuda.is_available())
    return wants_gpu and str(config.devices) == "1" and torch.cuda.device_count() > 0
