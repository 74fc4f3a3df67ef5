"""Several processes for one job inside a multirun.

Lightning starts the further processes of a DDP job by running this command line again. In a multirun that would be the
whole sweep: a second tree of outputs, and processes that train different jobs together without an error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import read_write

from safe_exp.errors import UserError

# What Lightning leaves in the environment; the next job of this process would take itself for a part of this one.
DDP_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@contextmanager
def command_line_of_its_own(folder: Path, processes: int) -> Iterator[None]:
    """For the time of one job, let this process look as if the job had been started alone, in `folder`.

    Args:
        processes: that share the job; with one nothing needs to be done.
    Raises:
        UserError: the launcher's processes cannot start others.
    """
    if processes == 1 or not HydraConfig.initialized() or "LOCAL_RANK" in os.environ or "SLURM_PROCID" in os.environ:
        yield  # one of the further processes, or one of those that SLURM has started, all of them
        return
    config = HydraConfig.get()
    if config.mode not in (RunMode.MULTIRUN, "MULTIRUN"):
        yield
        return
    main = sys.modules["__main__"].__spec__
    if main is None or main.name != "safe_exp.train":
        launcher = config.runtime.choices.get("hydra/launcher", "this launcher")
        raise UserError(
            f"trainer.devices={processes} in a sweep: the jobs of hydra/launcher={launcher} run in processes that "
            "cannot start others. Leave the launcher out, so that the jobs run one after the other; on SLURM set "
            f"hydra.launcher.tasks_per_node={processes}."
        )
    argv, environment = sys.argv, {name: os.environ.get(name) for name in DDP_VARIABLES}
    # A sweep=… among the overrides would make each process a multirun of its own.
    sys.argv = [argv[0], *config.overrides.task, "hydra.mode=RUN"]
    whole = HydraConfig.instance().cfg
    with read_write(whole.hydra):
        whole.hydra.run.dir = str(folder)
    try:
        yield
    finally:
        sys.argv = argv
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
