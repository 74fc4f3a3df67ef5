"""A finished run, read back from its folder: config, word vectors, and the weights of a checkpoint."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError

from safe_exp.config import ModelConfig, OptimizerConfig
from safe_exp.data.vectors import read_vector_tables
from safe_exp.errors import UserError
from safe_exp.module import SafeModule


def load_run(run: Path, checkpoint: str = "best") -> SafeModule:
    """The trained module of a run folder, on the CPU, ready to score; nothing outside the folder is read.

    Args:
        run: a run folder, wherever it has been moved to.
        checkpoint: `best` or `last`.
    Raises:
        UserError: a part of the folder is missing, damaged, or does not fit the rest; the message names the file.
    """
    config_path = run / ".hydra" / "config.yaml"
    weights_path = run / "checkpoints" / f"{checkpoint}.ckpt"
    for path in (config_path, run / "artifacts" / "vectors.safetensors", weights_path):
        if not path.is_file():
            raise UserError(
                f"run={run}: {path.relative_to(run)} is missing. Give the folder of a finished run of train."
            )
    try:
        stored = OmegaConf.load(config_path)
        model = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelConfig), stored.model))
        text_vectors, visual_vectors = read_vector_tables(run / "artifacts" / "vectors.safetensors")
        weights = torch.load(weights_path, map_location="cpu", weights_only=True)["state_dict"]
    except (OmegaConfBaseException, SafetensorError, pickle.UnpicklingError, RuntimeError, KeyError, EOFError) as error:
        raise UserError(
            f"run={run}: its files cannot be read ({_first_line(error)}). Was the copy complete?"
        ) from error
    optimizer = OptimizerConfig(_target_="torch.optim.SGD", lr=1.0, weight_decay=0.0)  # scoring takes no step
    module = SafeModule(model, optimizer, text_vectors, visual_vectors)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{weights_path} does not fit the model that {config_path.name} describes ({_first_line(error)})."
        ) from error
    return module.eval()


def _first_line(error: Any) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
