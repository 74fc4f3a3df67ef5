"""The conditions under which jobs are trained together, and their division into stacks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any, NamedTuple

from omegaconf import DictConfig

from safe_exp.config import TrainConfig, TrainerConfig, Update, plain_config
from safe_exp.network.variants import variants
from safe_exp.runs.loggers import is_known
from safe_exp.training.optimizers import scheduler_interval

MOST_RUNS = 256  # in one stack: more of them save nothing
MOST_RUN_FILTERS = 8192  # R·K: the memory of a stack grows with it
STACKABLE_OPTIMIZERS = (
    "torch.optim.SGD",
    "torch.optim.Adam",
    "torch.optim.AdamW",
)  # each updates every number by itself
STACKABLE_SCHEDULERS = ("torch.optim.lr_scheduler.StepLR", "torch.optim.lr_scheduler.CosineAnnealingLR")
STACKABLE_PRECISIONS = ("None", "32", "32-true", "64", "64-true")
# Keys of TrainerConfig that a stack obeys, or that have no effect on it. A job that sets another key needs Lightning.
STACKABLE_TRAINER_KEYS = {
    "accelerator", "strategy", "devices", "num_nodes", "precision", "max_epochs", "num_sanity_val_steps",
    "log_every_n_steps", "enable_checkpointing", "enable_progress_bar", "enable_model_summary",
    "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "deterministic",
    "check_val_every_n_epoch", "val_check_interval",
}  # fmt: skip


class StackMember(NamedTuple):
    """One job of a stack before it starts."""

    number: int  # in the sweep
    composed: DictConfig
    typed: TrainConfig


def reason_to_run_alone(config: TrainConfig) -> str | None:
    """Give the reason why a job cannot be part of a stack; None if it can."""
    model, trainer, scheduler = config.model, config.trainer, config.scheduler
    if config.resume is not None:
        return "it resumes a run"
    if not variants[model.variant].stackable:
        return f"model={model.variant} is not stacked"
    if model.update is not Update.closed_form:
        return f"model.update={model.update.value}"
    if config.refit:
        return f"refit={str(config.refit).lower()}"
    if config.callbacks.extra:
        return "callbacks.extra names callbacks"
    if config.extras.print_config:
        return "extras.print_config=true"
    if config.compile:
        return "compile=true"
    if config.optimizer._target_ not in STACKABLE_OPTIMIZERS:
        return f"optimizer._target_={config.optimizer._target_}"
    if scheduler is not None and scheduler["_target_"] not in STACKABLE_SCHEDULERS:
        return f"scheduler._target_={scheduler['_target_']}"
    if scheduler_interval(scheduler) == "step":
        return "scheduler.interval=step"
    if str(trainer.precision) not in STACKABLE_PRECISIONS:
        return f"trainer.precision={trainer.precision}"
    if str(trainer.devices) != "1" or trainer.num_nodes not in (None, 1) or trainer.strategy != "auto":
        return "it asks for several processes, or a strategy"
    if trainer.accelerator not in ("cpu", "gpu", "cuda"):
        return f"trainer.accelerator={trainer.accelerator}"
    if not all(is_known(name, settings) for name, settings in config.logger.chosen.items()):
        return "logger.more names an unknown logger"
    for field in fields(TrainerConfig):
        value = getattr(trainer, field.name)
        if (
            field.name not in STACKABLE_TRAINER_KEYS
            and value not in (None, False)
            and (field.name, value) != ("max_steps", -1)
        ):
            return f"trainer.{field.name}={value}"
    return None


def stack_key(config: TrainConfig) -> str:
    """Serialise all of a config except α, β, γ and the seed: jobs with equal keys can be stacked."""
    plain: dict[str, Any] = plain_config(config)
    for name in ("alpha", "beta", "gamma"):
        del plain["model"][name]
    del plain["optimizer"]["lr"], plain["seed"]
    return json.dumps(plain, sort_keys=True, default=str)


def form_stacks(configs: Sequence[TrainConfig], most_runs: int | None = None) -> list[list[int]]:
    """Divide jobs into stacks, each sorted by seed and γ.

    Runs with the same seed read the same batches, and one step of the optimiser updates all neighbours with the same γ.

    Args:
        configs: of jobs that can be stacked.
        most_runs: in one stack; a larger group becomes several stacks. The runs of a seed stay in one stack where
            possible, because they read the same words. None: MOST_RUNS, and fewer where K is large.
    Returns:
        The positions in `configs` of the jobs of each stack.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for position, config in enumerate(configs):
        groups[stack_key(config)].append(position)
    found = []
    for group in groups.values():
        group.sort(key=lambda position: (configs[position].seed, configs[position].optimizer.lr, position))
        filters = configs[group[0]].model.num_filters
        most = most_runs or max(1, min(MOST_RUNS, MOST_RUN_FILTERS // filters))
        found += _divide_group([list(jobs) for _, jobs in groupby(group, lambda i: configs[i].seed)], most)
    return found


def divide_stacks(stacks: Sequence[list[int]], seeds: Mapping[int, int], wanted: int) -> list[list[int]]:
    """Divide the largest stacks further until there are `wanted`, so that as many processes have one each.

    A stack is halved, between two seeds if they meet in its middle half. One of fewer than 4 runs is left whole.

    Args:
        stacks: the jobs of each, sorted by seed and γ.
        seeds: of the jobs.
    """
    found = [list(stack) for stack in stacks]
    while found and len(found) < wanted:
        largest = max(found, key=len)
        if len(largest) < 4:
            break
        middle = len(largest) // 2
        borders = [i for i in range(1, len(largest)) if seeds[largest[i]] != seeds[largest[i - 1]]]
        near = [i for i in borders if len(largest) <= 4 * i <= 3 * len(largest)]
        cut = min(near, key=lambda i: abs(i - middle), default=middle)
        place = found.index(largest)
        found[place : place + 1] = [largest[:cut], largest[cut:]]
    return found


def _divide_group(seeds: Sequence[list[int]], most_runs: int) -> list[list[int]]:
    """Divide the jobs of each seed into stacks of at most `most_runs`, without splitting a seed where it fits."""
    found: list[list[int]] = [[]]
    for jobs in seeds:
        if found[-1] and len(found[-1]) + len(jobs) > most_runs:
            found.append([])
        parts = -(-len(jobs) // most_runs)
        pieces = [jobs[len(jobs) * i // parts : len(jobs) * (i + 1) // parts] for i in range(parts)]
        found[-1] += pieces[0]
        found += pieces[1:]
    return found
