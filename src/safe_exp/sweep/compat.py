"""Private parts of libraries that a sweep needs. tests/sweep/test_compat.py fails when one of them has changed."""

from __future__ import annotations

from functools import cache
from typing import Any


def continue_study(sweeper: Any, trials: int, first_job: int, reseed: bool) -> None:
    """Set the number of trials that hydra-optuna-sweeper runs next, and the number of their first job.

    Needed because its `sweep` always starts at job 0: a resumed study would write into the folders of its first trials.

    Args:
        sweeper: an `OptunaSweeper`, set up.
        trials: to run.
        first_job: number of the first one's job.
        reseed: let its sampler continue with another seed.
    """
    inside = sweeper.sweeper
    inside.n_trials, inside.job_idx = trials, first_job
    if reseed:
        inside.sampler.reseed_rng()


def list_packages_once() -> None:
    """Cache W&B's list of the installed packages, which it reads twice in every run, for this process.

    Needed because W&B can only be told to record no packages at all. Without the cache each run of a stack takes 0.5 s
    more.
    """
    from wandb import util

    if not hasattr(util.working_set, "cache_info"):
        util.working_set = cache(lambda read=util.working_set: list(read()))
