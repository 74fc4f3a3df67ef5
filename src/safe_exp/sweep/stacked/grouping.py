"""Which jobs can be trained together, and why another one cannot."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any

from safe_exp.config import TrainConfig, TrainerConfig, Update, plain_config
from safe_exp.network.variants import variants
from safe_exp.runs.loggers import loggers

OPTIMIZERS = ("torch.optim.SGD", "torch.optim.Adam", "torch.optim.AdamW")  # they move each number by itself
SCHEDULERS = ("torch.optim.lr_scheduler.StepLR", "torch.optim.lr_scheduler.CosineAnnealingLR")
PRECISIONS = ("None", "32", "32-true", "64", "64-true")
# Of TrainerConfig: what a stack follows, or what has no meaning for it. Any other setting is Lightning's own business.
FOLLOWED = {
    "accelerator", "strategy", "devices", "num_nodes", "precision", "max_epochs", "num_sanity_val_steps",
    "log_every_n_steps", "enable_checkpointing", "enable_progress_bar", "enable_model_summary",
    "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "deterministic",
    "check_val_every_n_epoch", "val_check_interval",
}  # fmt: skip


def reason_to_run_alone(config: TrainConfig) -> str | None:
    """Why this job is no member of any stack; None where it can be one."""
    model, trainer, scheduler = config.model, config.trainer, config.scheduler
    if config.resume is not None:
        return "it resumes a run"
    if not variants[model.variant].stackable:
        return f"model={model.variant} is not stacked"
    if model.update is not Update.closed_form:
        return f"model.update={model.update.value}"
    if config.compile:
        return "compile=true"
    if config.optimizer._target_ not in OPTIMIZERS:
        return f"optimizer._target_={config.optimizer._target_}"
    if scheduler is not None and scheduler["_target_"] not in SCHEDULERS:
        return f"scheduler._target_={scheduler['_target_']}"
    if str(trainer.precision) not in PRECISIONS:
        return f"trainer.precision={trainer.precision}"
    if str(trainer.devices) != "1" or trainer.num_nodes not in (None, 1) or trainer.strategy != "auto":
        return "it asks for several processes, or a strategy"
    if trainer.accelerator not in ("cpu", "gpu", "cuda"):
        return f"trainer.accelerator={trainer.accelerator}"
    if not config.logger.chosen.keys() <= set(loggers.names()):
        return "logger.more names an unknown logger"
    for field in fields(TrainerConfig):
        value = getattr(trainer, field.name)
        if field.name not in FOLLOWED and value not in (None, False) and (field.name, value) != ("max_steps", -1):
            return f"trainer.{field.name}={value}"
    return None


def stack_key(config: TrainConfig) -> str:
    """The same for jobs that may be stacked: all of the config but α, β, γ and the seed."""
    plain: dict[str, Any] = plain_config(config)
    for name in ("alpha", "beta", "gamma"):
        del plain["model"][name]
    del plain["optimizer"]["lr"], plain["seed"]
    return json.dumps(plain, sort_keys=True, default=str)


def stacks(configs: Sequence[TrainConfig], most_runs: int) -> list[list[int]]:
    """Positions of the jobs of each stack, sorted by seed and γ: runs of one seed read the same batches, and one step
    of the optimiser moves all neighbours of one γ.

    Args:
        configs: of jobs that can be stacked.
        most_runs: in a stack; a larger group becomes several. Those of one seed stay together where they can: each seed
            of a stack costs a forward pass of its own.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for position, config in enumerate(configs):
        groups[stack_key(config)].append(position)
    found = []
    for group in groups.values():
        group.sort(key=lambda position: (configs[position].seed, configs[position].optimizer.lr, position))
        found += _divided([list(of_seed) for _, of_seed in groupby(group, lambda i: configs[i].seed)], most_runs)
    return found


def _divided(seeds: Sequence[list[int]], most_runs: int) -> list[list[int]]:
    """Stacks of at most `most_runs` jobs from the jobs of each seed: whole seeds where they fit."""
    found: list[list[int]] = [[]]
    for jobs in seeds:
        if found[-1] and len(found[-1]) + len(jobs) > most_runs:
            found.append([])
        parts = -(-len(jobs) // most_runs)
        pieces = [jobs[len(jobs) * i // parts : len(jobs) * (i + 1) // parts] for i in range(parts)]
        found[-1] += pieces[0]
        found += pieces[1:]
    return found
