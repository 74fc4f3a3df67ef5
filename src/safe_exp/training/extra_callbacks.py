"""Callbacks that the user names in `callbacks.extra`: built before the data are read, with states that can be resumed.

Only a training builds them, from its own config; no command that uses a trained run does.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, StochasticWeightAveraging

from safe_exp.config.hydra_versions import instantiate
from safe_exp.system.errors import UserError, first_line
from safe_exp.training.named_classes import find_class


def build_extra_callbacks(extra: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Callback]:
    """Build the callbacks of `callbacks.extra`, in their order.

    Args:
        extra: the class, as `_target_`, and the arguments of each callback, by the user's name for it.
        folder: of the run. A ModelCheckpoint without a dirpath writes to `folder`/checkpoints/<name>.
    Raises:
        UserError: one cannot be built or used; the message names its key.
    """
    return [_build(f"callbacks.extra.{name}", name, settings, folder) for name, settings in extra.items()]


def _build(key: str, name: str, settings: Mapping[str, Any], folder: Path) -> Callback:
    kind = find_class(f"{key}._target_", settings.get("_target_"), Callback)
    if issubclass(kind, StochasticWeightAveraging):
        raise UserError(
            f"{key}: StochasticWeightAveraging puts its average into the network after the last checkpoint, and only "
            "after trainer.max_epochs epochs, so a run would not keep it. Take callbacks.select=average."
        )
    try:
        callback = instantiate(OmegaConf.create(dict(settings)), _convert_="all")
    except Exception as error:  # whatever the class raises for its arguments; Hydra wraps it
        raise UserError(f"{key}: {kind.__name__} cannot be built: {first_line(error.__cause__ or error)}.") from error
    if not isinstance(callback, Callback):  # _partial_, or a class that builds another one
        raise UserError(f"{key}: this builds a {type(callback).__name__}, and no callback.")
    if isinstance(callback, ModelCheckpoint):
        own = (folder / "checkpoints").resolve()
        if callback.dirpath is not None and Path(callback.dirpath).resolve() == own:
            raise UserError(
                f"{key}.dirpath={callback.dirpath}: the run keeps best.ckpt and last.ckpt there, from which it is "
                "resumed. Give another folder, or none."
            )
        callback.dirpath = callback.dirpath or str(own / name)
    require_plain_state(key, callback.state_dict())
    return callback


def require_distinct_states(callbacks: Sequence[Callback]) -> None:
    """Refuse two callbacks that a checkpoint could not tell apart.

    Args:
        callbacks: all those of a run.
    Raises:
        UserError: two keep their state under one name.
    """
    found: dict[str, Callback] = {}
    for callback in callbacks:
        if type(callback).state_dict is not Callback.state_dict and callback.state_key in found:
            raise UserError(
                f"callbacks.extra: two callbacks keep their state as {callback.state_key}, so a resumed run could not "
                f"tell them apart. Give {type(callback).__name__} other arguments, or its class another name."
            )
        found[callback.state_key] = callback


def require_plain_state(owner: str, state: Any) -> None:
    """Refuse a state that is not made of numbers, text, tensors, and lists and dicts of them.

    A checkpoint is read without unpickling, so that it can run nothing; with such a state it could not be read at all.

    Args:
        owner: begins the message.
    Raises:
        UserError: the state cannot be read back; the message has the type that is in the way.
    """
    stored = io.BytesIO()
    try:
        torch.save(state, stored)
        stored.seek(0)
        torch.load(stored, weights_only=True)
    except Exception as error:  # pickle, PyTorch's unpickler and the state's own classes have no error in common
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line or "global" in line), str(error))
        raise UserError(
            f"{owner}: its state cannot be stored in a checkpoint, which holds numbers, text, tensors, lists and dicts "
            f"alone ({reason.strip().splitlines()[0]}). Let its state_dict return these."
        ) from error
