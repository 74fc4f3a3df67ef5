"""Checkpoints: read with every byte checked and nothing unpickled, and compared with the model that they are for."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from safe_exp.system.errors import UserError, first_line
from safe_exp.system.files import short_path, whole_file
from safe_exp.system.nested import flat

REQUIRED_KEYS = ("state_dict", "epoch", "global_step", "callbacks", "optimizer_states", "lr_schedulers")
ADVICE = {  # by file name, for one that cannot be used
    "last.ckpt": "copy best_epoch.ckpt over it, or if there is none best.ckpt, and the run goes on from its best epoch "
    "to the same end",
    "best.ckpt": "take the last epoch's weights, as in checkpoint=last, or train anew",
}


BEST, BEST_EPOCH, LAST = "best.ckpt", "best_epoch.ckpt", "last.ckpt"
REFIT = "refit.ckpt"  # of a refit that is under way
KEPT = "kept"  # key of a checkpoint whose weights no epoch has left: they are averaged, or of a refit


def keep_weights(folder: Path, weights: Mapping[str, Tensor], kept: str) -> None:
    """Write best.ckpt with weights that are not those of the best epoch, which best_epoch.ckpt then holds.

    Args:
        folder: checkpoints/ of a run that has ended, with last.ckpt.
        weights: the state dict of the module, tensors of any shape (…) by name.
        kept: names the weights, such as average.
    """
    checkpoint = read_checkpoint(folder / LAST)
    checkpoint |= {"state_dict": {name: value.detach().cpu() for name, value in weights.items()}, KEPT: kept}
    # A run without a best epoch of its own, which refits by a sweep's folds, may have left its earlier best.ckpt here.
    if (folder / BEST).exists() and not (folder / BEST_EPOCH).exists() and KEPT not in read_checkpoint(folder / BEST):
        os.replace(folder / BEST, folder / BEST_EPOCH)
    with whole_file(folder / BEST) as draft:
        torch.save(checkpoint, draft)


def best_epoch_path(folder: Path) -> Path:
    """Return the path of the checkpoint of the best epoch in `folder`, where `keep_weights` may have moved it."""
    return folder / (BEST_EPOCH if (folder / BEST_EPOCH).exists() else BEST)


def restore_best_epoch(folder: Path) -> None:
    """Undo `keep_weights` in a run that trains on, and whose best epoch may become another one."""
    if (folder / BEST_EPOCH).exists():
        os.replace(folder / BEST_EPOCH, folder / BEST)


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read the plain values and tensors of a checkpoint that train wrote.

    Args:
        map_location: as in torch.load.
    Raises:
        UserError: the file is damaged, be it by one bit, or is no checkpoint of a run.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            # PyTorch does not check these sums: a flipped bit would silently be another weight.
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"its part {damaged} is not as it was written")
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
        held = checkpoint if isinstance(checkpoint, dict) else {}
        missing = [key for key in REQUIRED_KEYS if key not in held]
        if missing:
            raise ValueError(f"it holds no {missing[0]}")
    except Exception as error:  # zipfile, zlib and PyTorch's unpickler have no error in common
        raise UserError(
            f"{short_path(path)}: the checkpoint cannot be used ({first_line(error)}). Copy it again if it was copied; "
            f"else {ADVICE.get(path.name, 'train anew')}."
        ) from error
    return checkpoint


def require_same_model(checkpoint: Mapping[str, Any], state: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
    """Refuse to resume from a checkpoint of another model, or of the same one under other settings.

    Args:
        checkpoint: as `read_checkpoint` returns it.
        state: the state dict of the module that is to be filled, tensors of any shape (…) by name.
        settings: its hyper-parameters. Those that only one side has are not compared: versions differ in them.
    Raises:
        UserError: names and shapes of the weights or the settings differ; the message names the first difference. Or
            no training goes on from these weights.
    """
    if KEPT in checkpoint:
        raise UserError(
            f"checkpoints/last.ckpt holds the weights that the run kept at its end ({checkpoint[KEPT]}), from which no "
            "training goes on. Copy best_epoch.ckpt over it instead, or start a new run."
        )
    found = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    expected = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise _refusal(f"its {name} is {found.get(name, 'missing')}, expected {expected.get(name, 'none')}")
    then, now = flat(checkpoint.get("hyper_parameters", {})), flat(settings)
    for name in sorted(then.keys() & now.keys()):
        if then[name] != now[name]:
            raise _refusal(f"it was trained with {name}={then[name]}, and this run has {name}={now[name]}")


def _refusal(difference: str) -> UserError:
    return UserError(
        f"checkpoints/last.ckpt is not of this run's model: {difference}. Was it copied from another run? Bring the "
        "run's own back, or start a new run."
    )
