"""A trained SAFE as it was stored: its settings, its weights, and what it needs to read articles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor
from yaml import YAMLError

from safe_exp.architecture import build_network
from safe_exp.calibration import Calibration
from safe_exp.checkpoint import read_checkpoint
from safe_exp.config import ModelConfig
from safe_exp.data.artifacts import Artifacts
from safe_exp.errors import UserError
from safe_exp.network import SafeNetwork
from safe_exp.released import ReleasedNetwork

OF_NETWORK = "network."  # begins the names of the network's weights in a checkpoint


@dataclass(frozen=True)
class StoredRun:
    model: ModelConfig
    artifacts: Artifacts
    weights: dict[str, Tensor]  # the network's state dict
    calibration: Calibration | None  # what validation taught of the best checkpoint's scores, where it could
    source: Path  # the run folder or file that it was read from
    checkpoint: str = "best"

    @property
    def where(self) -> str:
        """What an error message about the weights names."""
        return f"run={self.source}" if self.source.is_file() else f"{self.source}/checkpoints/{self.checkpoint}.ckpt"

    def network(self) -> SafeNetwork | ReleasedNetwork:
        """The trained network, on the CPU, ready to score.

        Raises:
            UserError: the weights are not those of the model that the settings describe, or not finite.
        """
        tables = self.artifacts.text_vectors, self.artifacts.visual_vectors
        network = build_network(self.model, *(table.shape[1] for table in tables))
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            raise UserError(
                f"{self.where}: the weights do not fit the model that its config describes ({_first_line(error)})."
            ) from error
        broken = [name for name, weight in network.named_parameters() if not torch.isfinite(weight).all()]
        if broken:
            raise UserError(
                f"{self.where}: the weights are not finite numbers ({broken[0]}); they cannot score anything."
            )
        return network.eval()


def open_run(run: Path, checkpoint: str = "best") -> StoredRun:
    """What a run folder holds, wherever it has been moved to; nothing outside the folder is read.

    Args:
        run: a run folder of train, or a file that export made of one.
        checkpoint: `best` or `last`.
    Raises:
        UserError: a part is missing, damaged, or does not fit the rest; the message names the file.
    """
    if not run.exists():
        raise UserError(f"run={run}: there is no such folder or file. Give the folder of a finished run of train.")
    if run.is_file():
        from safe_exp.bundle import open_bundle

        if checkpoint != "best":
            raise UserError(f"checkpoint={checkpoint}: run={run} is one file, which holds one set of weights.")
        return open_bundle(run)
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
    except (OmegaConfBaseException, YAMLError, AttributeError, UnicodeDecodeError) as error:
        raise UserError(
            f"run={run}: .hydra/config.yaml cannot be read ({_first_line(error)}). Was the copy complete?"
        ) from error
    weights = read_checkpoint(weights_path)["state_dict"]
    artifacts = Artifacts.load(run / "artifacts")
    weights = {name.removeprefix(OF_NETWORK): weight for name, weight in weights.items()}
    calibration = Calibration.load(run / "artifacts") if checkpoint == "best" else None
    return StoredRun(model, artifacts, weights, calibration, run, checkpoint)


def no_calibration(stored: StoredRun) -> str:
    """Why a stored run knows nothing of its scores."""
    if stored.checkpoint != "best":
        return f"run={stored.source} was calibrated at its best checkpoint, not its {stored.checkpoint} one."
    return (
        f"run={stored.source} has no calibration: it is of an older version, or was validated on articles of one class."
    )


def _first_line(error: Any) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
