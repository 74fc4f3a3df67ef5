"""The request to SLURM, which is one for all jobs of a sweep: they are an array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from safe_exp.system.errors import UserError

REQUEST = ("nodes", "tasks_per_node", "gpus_per_node")  # keys of hydra.launcher that may follow a job's trainer.…


def require_shared_request(sweep: Mapping[str, Any], job: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Refuse a job that needs other nodes, tasks or GPUs than the sweep asks for.

    Args:
        sweep, job: hydra.launcher of the sweep itself, and as the job's own config has it.
        overrides: of the job.
    Raises:
        UserError: they differ, as with trainer=cpu,gpu.
    """
    for key in REQUEST:
        if key in sweep and sweep[key] != job[key]:
            raise UserError(
                f"{' '.join(overrides)}: this job needs hydra.launcher.{key}={job[key]}, and the sweep asks for "
                f"{sweep[key]}. The jobs of a sweep are one SLURM array, with one request for all. Start a sweep for "
                f"each kind of device, or set hydra.launcher.{key} for all jobs."
            )
