"""Stacks from the composed configs of their jobs to the jobs' results, one after the other in one process."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn

from safe_exp.runs.sigterm import sigterm_as_exit
from safe_exp.sweep.stacked.ending import Writers
from safe_exp.sweep.stacked.grouping import StackMember
from safe_exp.sweep.stacked.job import StackedJob
from safe_exp.sweep.stacked.opening import open_job
from safe_exp.sweep.stacked.progress import StackProgress
from safe_exp.sweep.stacked.training import train_stack  # now, so that forked writers need not import it
from safe_exp.system.versions import running_code

WAIT_SECONDS = 1.0  # between two checks of the writers at the end


def run_stacks(stacks: Sequence[Sequence[StackMember]], writers: int, progress: StackProgress) -> dict[int, JobReturn]:
    """Train one stack after the other, while other processes write the files of ended jobs.

    Args:
        writers: processes that write.
        progress: of all stacks.
    Returns:
        The result of each job, by number.
    Raises:
        SystemExit: Ctrl-C; what the runs have reached has been written.
    """
    code = running_code()
    returned: dict[int, JobReturn] = {}
    begun: list[StackedJob] = []
    pool = Writers(writers)
    before = HydraConfig.instance().cfg
    try:
        with sigterm_as_exit():
            for stack in stacks:
                jobs = []
                for number, composed, typed in stack:
                    prepared = open_job(composed)
                    returned[number] = prepared
                    job = StackedJob(number, prepared, typed, prepared.hydra_cfg.hydra)
                    try:
                        job.begin(code)
                    except Exception as error:  # the folder is in use
                        job.failed(error)
                    else:
                        jobs.append(job)
                        begun.append(job)
                HydraConfig.instance().set_config(stack[0].composed)
                if jobs:
                    train_stack(jobs, pool, progress)
            _finish_writing(pool, progress)
    except BaseException as error:
        try:
            progress.stopping()
            _finish_writing(pool, progress)
        finally:
            pool.give_up(error)
            for job in begun:
                if job.record.state == "running":
                    job.failed(error)
        if isinstance(error, KeyboardInterrupt):
            raise SystemExit(130) from None
        raise
    finally:
        HydraConfig.instance().cfg = before
        pool.shutdown()
    return returned


def _finish_writing(pool: Writers, progress: StackProgress) -> None:
    """Wait until the writers are done, and close their jobs."""
    while pool.waiting:
        progress.closed(pool.close_written(timeout=WAIT_SECONDS))
