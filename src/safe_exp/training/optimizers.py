"""The optimizer and the scheduler of a config: built, and refused before the data are read where they cannot work."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from omegaconf import OmegaConf
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from safe_exp.config import TrainConfig, plain_config
from safe_exp.config.hydra_versions import instantiate
from safe_exp.system.errors import UserError, first_line
from safe_exp.training.named_classes import find_class

# One parameter of each number of axes that a network here has: filters (K, H, E), maps (D, E) and biases (D,)
TRIAL_SHAPES = ((2, 2, 2), (2, 2), (2,))
TRIAL_BATCHES = 3
LENGTHS: dict[type[LRScheduler], str] = {OneCycleLR: "epochs", CosineAnnealingLR: "T_max"}  # keys of the last epoch


def optimizer_settings(config: TrainConfig) -> dict[str, Any]:
    """Collect the class, as `_target_`, and the arguments of the optimizer."""
    settings = plain_config(config.optimizer)
    if config.trainer.gradient_clip_val is not None:
        settings.pop("fused", None)  # Lightning refuses to clip for a fused optimizer under mixed precision
    return settings


def build_optimizer(settings: Mapping[str, Any], parameters: Iterable[Any]) -> Optimizer:
    """Build an optimizer.

    Args:
        settings: from `optimizer_settings`.
        parameters: tensors of any shape, or groups of them as torch.optim takes them.
    Raises:
        Exception: whatever the class raises for its arguments.
    """
    arguments = {name: value for name, value in settings.items() if name != "_target_"}
    return find_class("optimizer._target_", settings["_target_"], Optimizer)(parameters, **_objects(arguments))


def scheduler_interval(settings: Mapping[str, Any] | None) -> str | None:
    """Return `epoch` or `step`, after which the scheduler moves γ; None without a scheduler."""
    return None if settings is None else settings.get("interval", "epoch")


def build_scheduler(
    settings: Mapping[str, Any], optimizer: Optimizer, count_batches: Callable[[], int], interval: str | None = None
) -> LRScheduler:
    """Build a scheduler, with the schedulers that it joins.

    Args:
        settings: the config's section `scheduler`.
        optimizer: whose γ it moves.
        count_batches: counts those of an epoch, of which OneCycleLR needs to know the length of its cycle.
        interval: of the scheduler that joins this one; None: that of `settings`.
    Raises:
        Exception: whatever the class raises for its arguments.
    """
    kind = find_class("scheduler._target_", settings.get("_target_"), LRScheduler)
    arguments = {name: value for name, value in settings.items() if name not in ("_target_", "interval")}
    interval = interval or scheduler_interval(settings)
    if isinstance(arguments.get("schedulers"), list):  # of SequentialLR and ChainedScheduler
        arguments["schedulers"] = [
            build_scheduler(inner, optimizer, count_batches, interval) for inner in arguments["schedulers"]
        ]
    if issubclass(kind, OneCycleLR) and "total_steps" not in arguments:
        arguments.setdefault("steps_per_epoch", count_batches() if interval == "step" else 1)
    return kind(optimizer=optimizer, **_objects(arguments))


def check_optimizer(config: TrainConfig) -> None:
    """Refuse an optimizer or a scheduler that could not train the network, by a step on three small parameters.

    Raises:
        UserError: the message names the key, and gives PyTorch's reason.
    """
    settings = optimizer_settings(config)
    kind = find_class("optimizer._target_", settings["_target_"], Optimizer)
    where = f"optimizer._target_={settings['_target_']}"
    closure = inspect.signature(kind.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise UserError(
            f"{where}: a step of it computes the loss several times (its closure), and an update here computes its "
            "gradients once. Take another one, as in optimizer=adam."
        )
    settings.pop("capturable", None)  # a setting for CUDA graphs, which the processor of this trial does not know
    parameters = [torch.zeros(shape, requires_grad=True) for shape in TRIAL_SHAPES]
    try:
        optimizer = build_optimizer(settings, parameters)
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    except UserError:
        raise
    except Exception as error:  # no type is common to the refusals of all optimizers
        raise UserError(f"{where} cannot train this network: {first_line(error)}.") from error
    if config.scheduler is not None:
        _check_scheduler(config.scheduler, optimizer)


def _check_scheduler(settings: Mapping[str, Any], optimizer: Optimizer) -> None:
    """Refuse a scheduler that cannot be built, or that cannot move γ at its interval."""
    kind = find_class("scheduler._target_", settings.get("_target_"), LRScheduler)
    interval = scheduler_interval(settings)
    if interval not in ("epoch", "step"):
        raise UserError(f"scheduler.interval={interval}: expected epoch or step.")
    if interval == "step" and issubclass(kind, ReduceLROnPlateau):
        raise UserError(
            "scheduler.interval=step: ReduceLROnPlateau goes by validation, which comes once an epoch. Set "
            "scheduler.interval=epoch."
        )
    for ending, key in LENGTHS.items():
        if issubclass(kind, ending) and settings.get(key, 1) in (None, -1):
            raise UserError(
                f"trainer.max_epochs={settings[key] or 'null'}: {ending.__name__} needs the number of epochs, because "
                "its course of γ ends with the last one. Set trainer.max_epochs, or take another scheduler."
            )
    where = f"scheduler._target_={settings['_target_']}"
    try:
        scheduler = build_scheduler(settings, optimizer, lambda: TRIAL_BATCHES)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{where} cannot be built: {first_line(error)}.") from error
    try:
        optimizer.step()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(0.0)
        else:
            scheduler.step()
    except Exception as error:
        raise UserError(f"{where} cannot move γ: {first_line(error)}.") from error


def _objects(arguments: dict[str, Any]) -> dict[str, Any]:
    """Build the objects that `_target_` names within arguments, such as the function of LambdaLR."""
    return {name: _object(value) for name, value in arguments.items()}


def _object(value: Any) -> Any:
    if isinstance(value, dict) and "_target_" in value:
        return instantiate(OmegaConf.create(value), _convert_="all")
    return value
