"""The processes of a job: how many it takes, and which of them this one is."""

from __future__ import annotations

import os
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import ListConfig

from safe_exp.system.errors import UserError


def in_multirun() -> bool:
    """Whether this process runs a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode in ("MULTIRUN", RunMode.MULTIRUN)


def is_first_process() -> bool:
    """False in the further processes of a DDP job, which must leave the run folder to the first one."""
    return process_number() == 0


def process_number() -> int:
    """This process among those of its job: 0 for the first one, and for it alone, also with several nodes."""
    # Set by Lightning (LOCAL_RANK, NODE_RANK), torchrun (RANK, LOCAL_RANK, GROUP_RANK) and SLURM. None of them tells
    # alone: LOCAL_RANK starts anew on each node, and under Lightning's own processes SLURM_PROCID is that of the shell.
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
    return next((rank for rank in (int(os.environ.get(name, 0)) for name in names) if rank), 0)


def needs_a_command_of_its_own(trainer: Any) -> bool:
    """Whether this is a job of a multirun that asks for several processes, which nobody has started yet.

    Args:
        trainer: the config's section. Where it leaves the number open, as devices=auto does, several are assumed; so
            they are of strategy=ddp on one device, which leaves behind in a process what the next job stumbles over.
    """
    if not in_multirun():
        return False
    named = isinstance(trainer.devices, (list, ListConfig))  # the devices themselves, else their number
    one = len(trainer.devices) == 1 if named else str(trainer.devices) == "1"
    if one and trainer.num_nodes in (None, 1) and trainer.strategy == "auto":
        return False
    return "LOCAL_RANK" not in os.environ and not started_by_slurm()


def started_by_slurm() -> bool:
    """Whether SLURM has started this process as one of a job's tasks, by the signs that Lightning goes by."""
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")


def require_a_task_for_each_process(processes: int) -> None:
    """On SLURM, which starts a job's processes itself, their number must be the job's.

    Raises:
        UserError: with fewer the job would wait for the others for ever; with more, several would write one folder.
    """
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if started_by_slurm() and tasks != processes:
        raise UserError(
            f"This job takes {processes} process{'es' * (processes > 1)} (trainer.devices times trainer.num_nodes), "
            f"and SLURM has started {tasks}. Each must be a task of its own: set "
            f"hydra.launcher.tasks_per_node={processes} (for sbatch and srun: --ntasks-per-node={processes}) for one "
            f"node, or trainer.devices={tasks}."
        )
