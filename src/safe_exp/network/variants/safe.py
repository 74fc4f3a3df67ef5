"""SAFE with all its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from safe_exp.config import ModelConfig, Update
from safe_exp.equations import SafeLosses, SafeOutput, closed_form_step
from safe_exp.equations.safe import SafeCache, safe_forward
from safe_exp.equations.text_cnn import TextCnnCache
from safe_exp.network import SafeNetwork
from safe_exp.network.variants import Variant, variants


@dataclass(frozen=True)
class SafeVariant(Variant[SafeNetwork]):
    """SAFE or an ablation of it: the SafeNetwork of its name, with the paper's own arithmetic."""

    updates: tuple[Update, ...] = tuple(Update)
    regularised: bool = True
    stackable: bool = True
    explained: bool = True

    def build(self, model: ModelConfig, text_dim: int, visual_dim: int) -> SafeNetwork:
        return SafeNetwork(text_dim, visual_dim, **model.network_sizes, variant=self.name)

    def forward(self, network: SafeNetwork, **sentences: Any) -> tuple[SafeOutput, SafeCache]:
        return safe_forward(network.weights(), **sentences)

    def step(
        self, network: SafeNetwork, label: Tensor, **arguments: Any
    ) -> tuple[SafeOutput, SafeLosses, dict[str, Tensor]]:
        return closed_form_step(network, label=label, **arguments)

    def encoders(self, cache: SafeCache) -> dict[str, TextCnnCache]:
        found = {"text": cache.text, "image": cache.visual}
        return {name: encoder for name, encoder in found.items() if encoder is not None}


variants.add(SafeVariant("safe"))
