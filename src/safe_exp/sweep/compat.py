"""Inner parts of libraries that a sweep needs; tests/sweep/test_compat.py tells when one has moved."""

from __future__ import annotations

from functools import cache
from typing import Any


def continue_study(sweeper: Any, trials: int, first_job: int, reseed: bool) -> None:
    """Let hydra-optuna-sweeper's `OptunaSweeper` draw `trials` more, and number their jobs from `first_job`.

    Needed because its sweep() always starts at job 0; without it a resumed study would write into the folders of its
    first trials.
    """
    inside = sweeper.sweeper
    inside.n_trials, inside.job_idx = trials, first_job
    if reseed:
        inside.sampler.reseed_rng()


def list_packages_once() -> None:
    """Let W&B read the list of installed packages, which it notes twice in every run, once for this process.

    Needed because W&B's only setting is to note none; without it each run of a stack takes 0.5 s more.
    """
    from wandb import util

    if not hasattr(util.working_set, "cache_info"):
        util.working_set = cache(lambda read=util.working_set: list(read()))
