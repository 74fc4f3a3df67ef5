"""Private parts of libraries that a sweep needs. tests/sweep/test_compat.py fails when one of them has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

from omegaconf import DictConfig, flag_override


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
    if reseed and hasattr(inside.sampler, "reseed_rng"):  # a GridSampler is made later, and draws nothing
        inside.sampler.reseed_rng()


def stored_in(sweeper: Any) -> Any:
    """Return the storage of a study: an address, a storage of optuna's, or None.

    Needed because Hydra makes the storage from its `_target_`, and only the sweeper holds it.

    Args:
        sweeper: an `OptunaSweeper`.
    """
    return sweeper.sweeper.storage


def watch_study(sweeper: Any, note: Callable[[Any], None], guard: Callable[[Any], Any]) -> None:
    """Let hydra-optuna-sweeper show each trial that it begins, and ask before it launches a batch of them.

    Needed because its `sweep` begins and launches trials in one loop, and cannot stop where another machine has run
    the rest of the study.

    Args:
        sweeper: an `OptunaSweeper`, set up.
        note: called with each `optuna.Trial`, once its values are suggested.
        guard: called with `launch`; returns the function that takes its place.
    """
    inside = sweeper.sweeper
    extend, launch = inside.custom_search_space_extender, inside.launcher.launch

    def extend_and_note(config: Any, trial: Any) -> None:
        if extend is not None:
            extend(config, trial)
        note(trial)

    inside.custom_search_space_extender = extend_and_note
    inside.launcher = SimpleNamespace(launch=guard(launch))


@contextmanager
def without(config: DictConfig, key: str) -> Iterator[None]:
    """Take a section out of a config for a block, and put it back after it.

    Needed because OmegaConf copies a section that is put into a config, also one that was taken from there. With
    Hydra's own section that takes as long as composing a job.

    Args:
        config: with the section; is changed within the block.
        key: of the section.
    """
    flags = ["struct", "readonly", "no_deepcopy_set_nodes"]
    with flag_override(config, flags, [False, False, True]):
        section = config.pop(key)
        section._set_parent(None)
        try:
            yield
        finally:
            config[key] = section


@cache
def yaml_dumper() -> Any:
    """Return a Dumper that writes what OmegaConf.to_yaml writes, by libyaml: six times as fast.

    Needed because OmegaConf's own dumper is written in Python, and the files of a sweep's jobs are long.
    """
    import yaml
    from omegaconf._utils import get_omega_conf_dumper

    own = get_omega_conf_dumper()
    if not hasattr(yaml, "CDumper"):  # absent from some builds of PyYAML
        return own
    kept = ("yaml_representers", "yaml_multi_representers", "yaml_implicit_resolvers", "yaml_path_resolvers")
    return type("Dumper", (yaml.CDumper,), {name: getattr(own, name) for name in kept})


def speed_up_yaml() -> None:
    """Let OmegaConf.to_yaml and OmegaConf.save use `yaml_dumper` in this process.

    Needed because Lightning writes hparams.yaml by them.
    """
    from omegaconf import omegaconf

    omegaconf.get_omega_conf_dumper = yaml_dumper


def list_packages_once() -> None:
    """Cache W&B's list of the installed packages, which it reads twice in every run, for this process.

    Needed because W&B can only be told to record no packages at all. Without the cache each run of a stack takes 0.5 s
    more.
    """
    from wandb import util

    if not hasattr(util.working_set, "cache_info"):
        util.working_set = cache(lambda read=util.working_set: list(read()))
