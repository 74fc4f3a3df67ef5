"""The masks of model.pooled_dropout and model.feature_dropout, for the steps of a training and nothing else."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import nn

from safe_exp.config import ModelConfig
from safe_exp.equations import DropoutMasks
from safe_exp.equations.dropout import draw_mask
from safe_exp.network.safe_network import TextCnn


class Dropout:
    """Draws the masks of a training.

    Args:
        model: names the shares that are dropped.
        network: its Text-CNNs, in the order in which they are registered, and the input of its predictor are masked.
        seed: of the run.
    """

    def __init__(self, model: ModelConfig, network: nn.Module, seed: int) -> None:
        self.pooled, self.features = model.pooled_dropout, model.feature_dropout
        self.network, self.seed = network, seed

    def begin_epoch(self, epoch: int, rank: int = 0) -> None:
        """Seed the masks of an epoch, counted from 0, in one of the processes."""
        if not self.pooled and not self.features:
            return
        parameter = next(self.network.parameters())
        self._dtype = parameter.dtype
        # As with the order of the articles no generator is kept between epochs: its state would have to travel with
        # every checkpoint. Processes draw their own masks, since each has other articles.
        state = np.random.SeedSequence([self.seed, epoch, rank]).generate_state(1, np.uint64)
        self._generator = torch.Generator(parameter.device).manual_seed(int(state[0]))
        encoders = [module for module in self.network.modules() if isinstance(module, TextCnn)]
        self._pooled_sizes = [encoder.project.in_features for encoder in encoders]
        predictor = cast(nn.Linear, self.network.predictor) if self.features else None
        self._features_size = predictor.in_features if predictor else 0

    def draw(self, articles: int) -> dict[str, Any]:
        """Draw the masks of the next step.

        Returns:
            The argument `masks` of network and step; empty where dropout is off, so that others need not know of it.
        """
        if not self.pooled and not self.features:
            return {}
        pooled = self._pooled_sizes if self.pooled else []
        return {
            "masks": DropoutMasks(
                tuple(self._draw(articles, size, self.pooled) for size in pooled),
                self._draw(articles, self._features_size, self.features) if self.features else None,
            )
        }

    def _draw(self, articles: int, size: int, probability: float) -> torch.Tensor:
        return draw_mask((articles, size), probability, self._generator, self._dtype)
