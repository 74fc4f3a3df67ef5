"""Check that each file with its final name is whole, by parsing it with the library of its format."""

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from PIL import Image
from safetensors.numpy import load_file
from torch import Tensor


def _read_csv(path: Path) -> None:
    content = path.read_text(encoding="utf-8")
    assert not content or content.endswith("\n")
    assert len({len(row) for row in csv.reader(content.splitlines())}) <= 1


def _read_checkpoint(path: Path) -> None:
    assert zipfile.ZipFile(path).testzip() is None
    torch.load(path, weights_only=True)


PARSERS = {
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".csv": _read_csv,
    ".ckpt": _read_checkpoint,
    ".safetensors": load_file,
    ".parquet": pq.read_table,
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".png": lambda path: Image.open(path).load(),
    ".yaml": lambda path: yaml.safe_load(path.read_text(encoding="utf-8")),
    ".txt": lambda path: path.read_text(encoding="utf-8"),
}


def broken_files(folder: Path) -> dict[str, str]:
    """Map each broken file to its error; drafts, whose names or folders start with a dot, may be broken."""
    broken = {}
    for path in sorted(folder.rglob("*")):
        parts = [part for part in path.relative_to(folder).parts if part != ".hydra"]
        if path.is_dir() or any(part.startswith(".") for part in parts) or path.suffix not in PARSERS:
            continue
        try:
            PARSERS[path.suffix](path)
        except Exception as error:
            broken[str(path.relative_to(folder))] = repr(error)
    return broken


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def have_same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Compare two models bit for bit."""
    return one.keys() == other.keys() and all(
        torch.equal(one[name].flatten().view(torch.uint8), other[name].flatten().view(torch.uint8)) for name in one
    )
