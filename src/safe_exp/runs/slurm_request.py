"""The nodes, tasks and GPUs that a job asks SLURM for, computed from its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import ListConfig

GPU_ACCELERATORS = ("gpu", "cuda")
# Keys of the launcher by which a user asks for GPUs in another way; SLURM would refuse both, or add them up.
OTHER_GPU_REQUESTS = ("gres", "gpus_per_task")


def count_nodes(config: Mapping[str, Any]) -> int:
    """Return trainer.num_nodes; 1 for a command without a trainer."""
    return int(_trainer(config).get("num_nodes") or 1)


def count_tasks(config: Mapping[str, Any]) -> int:
    """Count the tasks on each node: one for each of trainer.devices, whatever the accelerator.

    Where the config leaves the number open (devices=auto, devices=-1) it is 1: the job takes what it is given.
    """
    devices = _trainer(config).get("devices", 1)
    if isinstance(devices, (list, ListConfig)):
        return len(devices)
    return int(devices) if str(devices).isdecimal() and int(devices) > 0 else 1


def count_gpus(config: Mapping[str, Any], launcher: Mapping[str, Any]) -> int | None:
    """Count the GPUs on each node: one for each task if trainer.accelerator is gpu.

    Args:
        config: of the job.
        launcher: Hydra's settings of the launcher, hydra.launcher.
    Returns:
        None, which asks for nothing, on a CPU, and where the launcher's settings ask for GPUs otherwise.
    """
    otherwise = any(launcher.get(key) is not None for key in OTHER_GPU_REQUESTS)
    wants_gpu = _trainer(config).get("accelerator") in GPU_ACCELERATORS
    return count_tasks(config) if wants_gpu and not otherwise else None


def _trainer(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return config.get("trainer") or {}
