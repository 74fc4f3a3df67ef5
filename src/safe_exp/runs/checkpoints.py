"""Checkpoints read back: every byte checked, nothing unpickled, and only into the model that they were made of."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from safe_exp.system.errors import UserError, first_line
from safe_exp.system.files import short_path
from safe_exp.system.nested import flat

NEEDED = ("state_dict", "epoch", "global_step", "callbacks", "optimizer_states", "lr_schedulers")
INSTEAD = {
    "last.ckpt": "copy best.ckpt over it, and the run goes on from its best epoch to the same end",
    "best.ckpt": "take the last epoch's weights, as in checkpoint=last, or train anew",
}


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """The plain values and tensors of a checkpoint of ours.

    Raises:
        UserError: it is damaged, be it by one bit, or something else than a checkpoint of a run.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            # PyTorch is built to skip these sums: a flipped bit would be another weight, and nobody would know.
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"its part {damaged} is not as it was written")
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
        missing = [key for key in NEEDED if key not in checkpoint] if isinstance(checkpoint, dict) else NEEDED
        if missing:
            raise ValueError(f"it holds no {missing[0]}")
    except Exception as error:  # zipfile, zlib and PyTorch's unpickler have no error in common
        raise UserError(
            f"{short_path(path)}: the checkpoint cannot be used ({first_line(error)}). Copy it again if it was copied; "
            f"else {INSTEAD.get(path.name, 'train anew')}."
        ) from error
    return checkpoint


def require_same_model(checkpoint: Mapping[str, Any], state: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
    """Refuse to go on with a checkpoint that another model, or the same one under other settings, has written.

    Args:
        state: the state dict of the module that is to be filled.
        settings: its hyper-parameters. Those that only one side has are not compared: versions differ in them.
    Raises:
        UserError: the first difference.
    """
    found = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    expected = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise _of_another(f"its {name} is {found.get(name, 'missing')}, expected {expected.get(name, 'none')}")
    then, now = flat(checkpoint.get("hyper_parameters", {})), flat(settings)
    for name in sorted(then.keys() & now.keys()):
        if then[name] != now[name]:
            raise _of_another(f"it was trained with {name}={then[name]}, and this run has {name}={now[name]}")


def _of_another(difference: str) -> UserError:
    return UserError(
        f"checkpoints/last.ckpt is not of this run's model: {difference}. Was it copied from another run? Bring the "
        "run's own back, or start a new run."
    )
