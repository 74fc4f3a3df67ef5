"""A stored run: settings and weights of a trained model, and what it needs to read articles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from safe_exp.config import LossSettings, ModelConfig, StoredCaptioner
from safe_exp.data.artifacts import Artifacts
from safe_exp.network.variants import variants
from safe_exp.scoring.calibration import VALIDATION, Calibration
from safe_exp.system.errors import UserError, first_line

NETWORK_PREFIX = "network."  # begins the names of the network's weights in a checkpoint


@dataclass(frozen=True)
class StoredRun:
    """A trained model as it was stored, in a run folder or in a bundle."""

    model: ModelConfig
    artifacts: Artifacts
    weights: dict[str, Tensor]  # the network's state dict
    calibration: Calibration | None  # of the best checkpoint; None of another one, or where validation gave none
    source: Path  # the run folder or file that it was read from
    checkpoint: str = "best"  # or last

    jobs: ClassVar[Mapping[str, str]] = {}  # it is one run, and no sweep

    @property
    def members(self) -> tuple[StoredRun, ...]:
        """Models whose mean logit is the answer: this one alone."""
        return (self,)

    @property
    def fitted_on(self) -> str:
        """The articles of the calibration, VALIDATION or FOLDS."""
        return str(self.artifacts.manifest.get("fitted_on", VALIDATION))

    @property
    def loss_settings(self) -> LossSettings:
        """α, β and the kind of L_s."""
        return self.model.loss_settings

    @property
    def where(self) -> str:
        """Place of the weights, for error messages."""
        return f"run={self.source}" if self.source.is_file() else f"{self.source}/checkpoints/{self.checkpoint}.ckpt"

    def with_captioner(self, given: StoredCaptioner) -> StoredRun:
        """Return the run with the parts of its captioner that the user names: see `Artifacts.captioner`."""
        return replace(self, artifacts=replace(self.artifacts, given=given))

    def with_transformer(self, model: str | None) -> StoredRun:
        """Return the run with another place of the transformer whose hidden states it reads; None: as it was.

        Raises:
            UserError: the run reads no hidden states.
        """
        if model is None:
            return self
        entry = self.artifacts.manifest.get("vectors")
        if entry is None or entry["layer"] == 0:
            raise UserError(
                f"vectors.model={model}: run={self.source} reads no hidden states, and has its vectors with it. Leave "
                "vectors.model out."
            )
        manifest = self.artifacts.manifest | {"vectors": entry | {"model": model}}
        return replace(self, artifacts=replace(self.artifacts, manifest=manifest))

    def network(self) -> nn.Module:
        """Build the network with its trained weights, on the CPU, in evaluation mode.

        Raises:
            UserError: the weights do not fit the model that the settings describe, or are not finite.
        """
        tables = self.artifacts.text_vectors, self.artifacts.visual_vectors
        # The first weights are random, and replaced at once: a program's own random numbers must not depend on them.
        with torch.random.fork_rng(devices=[]):
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

    def explain_missing_calibration(self) -> str:
        """Say in one sentence, for an error message, why it has no calibration."""
        if self.checkpoint != "best":
            return f"run={self.source} was calibrated at its best checkpoint, not its {self.checkpoint} one."
        return (
            f"run={self.source} has no calibration: it is of an older version, or was validated on articles of one "
            "class."
        )


def typed_model(plain: Any) -> ModelConfig:
    """Convert the stored settings of a model to its typed config.

    Raises:
        OmegaConfBaseException: a key is unknown, or a value has the wrong type.
        UserError: a value is out of range.
    """
    return cast(ModelConfig, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelConfig), plain)))
