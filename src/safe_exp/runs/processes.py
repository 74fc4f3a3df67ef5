"""The processes of a job: their number, and the number of this one among them."""

from __future__ import annotations

import os
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import ListConfig

from safe_exp.system.errors import UserError


def in_multirun() -> bool:
    """Tell whether this process runs a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode in ("MULTIRUN", RunMode.MULTIRUN)


class _Job:
    """The job that this process runs."""

    shares_processes = False  # set by `note_processes`


def note_processes(trainer: Any) -> None:
    """Note whether the job of this process may be one of several processes; a job that notes nothing is alone.

    RANK and its like may be left over from another tool, such as the operator of a cluster. A job that asks for one
    process is its first, whatever they say.

    Args:
        trainer: the config's section of that name.
    """
    _Job.shares_processes = not _asks_for_one_process(trainer)


def is_first_process() -> bool:
    """Tell the first process of a job, which alone writes the run folder, from the further ones of a DDP job."""
    return process_number() == 0


def process_number() -> int:
    """Return the number of this process in its job: 0 for the first one, and for it alone, also with several nodes."""
    if not _Job.shares_processes:
        return 0
    # Set by Lightning (LOCAL_RANK, NODE_RANK), torchrun (RANK, LOCAL_RANK, GROUP_RANK) and SLURM. None of them tells
    # alone: LOCAL_RANK starts anew on each node, and under Lightning's own processes SLURM_PROCID is that of the shell.
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
    return next((rank for rank in (int(os.environ.get(name, 0)) for name in names) if rank), 0)


def needs_a_command_of_its_own(trainer: Any) -> bool:
    """Tell whether this is a job of a multirun that asks for several processes, which have not been started yet.

    Several are assumed where the config leaves the number open (devices=auto), and for strategy=ddp on one device,
    which leaves state behind in the process that disturbs the next job.

    Args:
        trainer: the config's section of that name.
    """
    if not in_multirun():
        return False
    if _asks_for_one_process(trainer):
        return False
    return "LOCAL_RANK" not in os.environ and not _started_by_slurm()


def _asks_for_one_process(trainer: Any) -> bool:
    named = isinstance(trainer.devices, (list, ListConfig))  # the devices themselves, else their number
    one = len(trainer.devices) == 1 if named else str(trainer.devices) == "1"
    return one and trainer.num_nodes in (None, 1) and trainer.strategy == "auto"


def _started_by_slurm() -> bool:
    """Tell whether SLURM has started this process as a task of a job, by the variables that Lightning reads."""
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")


def require_a_task_for_each_process(processes: int) -> None:
    """Refuse a job on SLURM, which starts a job's processes itself, whose tasks are not as many as its processes.

    Args:
        processes: trainer.devices times trainer.num_nodes.
    Raises:
        UserError: with fewer tasks the job would wait for ever; with more, several would write into one folder.
    """
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if _started_by_slurm() and tasks != processes:
        raise UserError(
            f"This job takes {processes} process{'es' * (processes > 1)} (trainer.devices times trainer.num_nodes), "
            f"and SLURM has started {tasks}. Each must be a task of its own: set "
            f"hydra.launcher.tasks_per_node={processes} (for sbatch and srun: --ntasks-per-node={processes}) for one "
            f"node, or trainer.devices={tasks}."
        )
