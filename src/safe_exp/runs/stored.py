"""A trained SAFE as it was stored: its settings, its weights, and what it needs to read articles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from safe_exp.config import ModelConfig
from safe_exp.data.artifacts import Artifacts
from safe_exp.network.variants import variants
from safe_exp.scoring.calibration import Calibration
from safe_exp.system.errors import UserError, first_line

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

    def network(self) -> nn.Module:
        """The trained network, on the CPU, ready to score.

        Raises:
            UserError: the weights are not those of the model that the settings describe, or not finite.
        """
        tables = self.artifacts.text_vectors, self.artifacts.visual_vectors
        network = variants[self.model.variant].build(self.model, *(table.shape[1] for table in tables))
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            raise UserError(
                f"{self.where}: the weights do not fit the model that its config describes ({first_line(error)})."
            ) from error
        broken = [name for name, weight in network.named_parameters() if not torch.isfinite(weight).all()]
        if broken:
            raise UserError(
                f"{self.where}: the weights are not finite numbers ({broken[0]}); they cannot score anything."
            )
        return network.eval()


def no_calibration(stored: StoredRun) -> str:
    """Why a stored run knows nothing of its scores."""
    if stored.checkpoint != "best":
        return f"run={stored.source} was calibrated at its best checkpoint, not its {stored.checkpoint} one."
    return (
        f"run={stored.source} has no calibration: it is of an older version, or was validated on articles of one class."
    )
