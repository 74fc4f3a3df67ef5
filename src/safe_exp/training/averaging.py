"""A running average of the weights of all epochs, in which later epochs count more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from safe_exp.runs.stored_run import NETWORK_PREFIX
from safe_exp.training.hooks import NoBatchHooks

POWER = 4  # η: epoch i has a weight of about i^η, which has the mean age of the last third of the epochs


class AveragedWeights(NoBatchHooks, Callback):
    """Averages the weights after each epoch, by polynomial decay (Shamir & Zhang 2013, section 4).

    After epoch n the average moves to the epoch's weights by (η + 1) / (n + η). So it needs no length of the training
    in advance, forgets the first epochs, and is one state, which the checkpoints hold.
    """

    def __init__(self) -> None:
        self.epochs = 0
        self.weights: dict[str, Tensor] = {}  # by parameter name, float32 or float64

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        network = cast(nn.Module, pl_module.network)
        self.update({name: value.detach() for name, value in network.named_parameters()})

    def update(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights of an epoch, by parameter name; tensors of any shape."""
        self.epochs += 1
        share = (POWER + 1) / (self.epochs + POWER)
        for name, value in weights.items():
            value = value.to(torch.promote_types(value.dtype, torch.float32))  # bfloat16 would drop small steps
            before = self.weights.get(name)
            # New tensors each time: checkpoints and stacks keep the earlier ones.
            self.weights[name] = value.clone() if before is None else before.to(value.device).lerp(value, share)

    def fill(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Put the averages, in the type of the weights, in their place in the state dict of a module."""
        averaged = {f"{NETWORK_PREFIX}{name}": value for name, value in self.weights.items()}
        return {name: averaged.get(name, value).to(value) for name, value in state.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "weights": dict(self.weights)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs, self.weights = state_dict["epochs"], dict(state_dict["weights"])
