"""curves.json of a run folder: the losses and validation figures of each epoch, from which curves are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from safe_exp.system.files import read_sealed_json, write_sealed_json

CURVES_FILE = "curves.json"
KEPT = ("train/loss", "val/")  # beginnings of the logged names that a figure may need
DIGITS = 9  # a float32 needs no more


def write_curves(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write CURVES_FILE: for each of the KEPT names a list with one value an epoch; null where it is not finite.

    Args:
        folder: of the run.
        history: one dict for each epoch, with train/loss, val/loss and so on.
    Raises:
        UnwritableFile: the file cannot be written.
    """
    names = dict.fromkeys(name for row in history for name in row if name.startswith(KEPT))
    values = {name: [_rounded(row.get(name)) for row in history] for name in names}
    write_sealed_json(folder / CURVES_FILE, {"epochs": len(history), "values": values})


def read_curves(folder: Path) -> list[dict[str, float]] | None:
    """Read what `write_curves` wrote, one dict for each epoch, without the values that are not finite.

    Returns:
        The epochs; None if the run has no such file.
    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be read.
    """
    try:
        content, _ = read_sealed_json(folder / CURVES_FILE)
    except FileNotFoundError:
        return None
    try:
        epochs: list[dict[str, float]] = [{} for _ in range(content["epochs"])]
        for name, values in content["values"].items():
            for row, value in zip(epochs, values, strict=True):
                if value is not None:
                    row[name] = float(value)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it has no {error}" if isinstance(error, KeyError) else str(error)) from error
    return epochs


def _rounded(value: float | None) -> float | None:
    return float(f"{value:.{DIGITS}g}") if value is not None and math.isfinite(value) else None
