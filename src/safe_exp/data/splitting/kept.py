"""Splits that were made before, kept beside the prepared data: scikit-learn, which draws them, takes half a second."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from safe_exp.config import DataConfig
from safe_exp.data.splitting.splits import Split, SplitColumns, make_split
from safe_exp.system.digest import json_digest
from safe_exp.system.files import read_sealed_json, write_sealed_json
from safe_exp.system.versions import installed_version

log = logging.getLogger(__name__)

FOLDER = "splits"  # in the folder of a prepared data set
VERSION = 1  # raised when `make_split` divides the same articles differently
SETTINGS = ("split", "dates", "val_fraction", "test_fraction", "folds", "fold", "seed", "drop_leaks", "val_root")


def make_or_read_split(columns: SplitColumns, config: DataConfig, prepared: Path) -> Split:
    """Make a split as `make_split` does, or read it where the same one has been made before.

    A kept split belongs to the very columns and settings that it was made from. One that is damaged is made anew.

    Args:
        prepared: folder of the prepared data set. Where it cannot be written to, nothing is kept.
    Raises:
        UserError: as `make_split`.
    """
    path = prepared / FOLDER / f"{_digest(columns, config)[:32]}.json"
    try:
        return _from_plain(read_sealed_json(path)[0])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read (%s); the split is made anew.", path, error)
    split = make_split(columns, config)
    try:
        path.parent.mkdir(exist_ok=True)
        write_sealed_json(path, _to_plain(split))
    except OSError as error:
        log.debug("The split is not kept in %s: %s", path, error)
    return split


def _digest(columns: SplitColumns, config: DataConfig) -> str:
    """SHA-256 of everything that a split depends on."""
    numbers = hashlib.sha256()
    for column in (columns.labels, columns.groups):
        numbers.update(np.ascontiguousarray(column, dtype="<i8").tobytes())
    texts = [columns.sources, columns.dates, columns.sides, columns.dates_written]
    settings = {name: getattr(config, name) for name in SETTINGS}
    settings["val_root"] = config.val_root is not None
    return json_digest([VERSION, installed_version("scikit-learn"), numbers.hexdigest(), texts, settings])


def _to_plain(split: Split) -> dict[str, Any]:
    plain = {field.name: getattr(split, field.name) for field in fields(split)}
    plain |= {name: rows.tolist() for name, rows in split.sides().items()}
    return plain | {"unplaced": {reason: rows.tolist() for reason, rows in split.unplaced.items()}}


def _from_plain(plain: dict[str, Any]) -> Split:
    sides = {name: np.array(plain[name], dtype=np.int64) for name in ("train", "val", "test")}
    unplaced = {reason: np.array(rows, dtype=np.int64) for reason, rows in plain["unplaced"].items()}
    return Split(**plain | sides | {"unplaced": unplaced})
