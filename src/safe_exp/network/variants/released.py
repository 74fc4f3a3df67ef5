"""The architecture of the authors' released code: headline, body and image's sentence, one map of the words for all."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from safe_exp.config import ModelConfig, Update
from safe_exp.config.checks import require_at_least
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeLosses, SafeOutput, Words, released_step
from safe_exp.equations.released import ReleasedCache, released_forward
from safe_exp.equations.text_cnn import TextCnnCache
from safe_exp.network.released_network import ReleasedNetwork, split_title
from safe_exp.network.variants import SIZES_OF_RELEASED, Variant, variants
from safe_exp.system.errors import UserError


class ReleasedVariant(Variant):
    def build(self, model: ModelConfig, text_dim: int, visual_dim: int) -> ReleasedNetwork:
        if visual_dim != text_dim:
            raise UserError(
                f"model=released maps the words of text and image by one matrix, but theirs have {text_dim} and "
                f"{visual_dim} numbers. Describe images in words (captioner=file or captioner=blip), or take "
                "model=safe."
            )
        return ReleasedNetwork(text_dim, model.word_dim, **model.network_sizes)

    def sentences(self, model: ModelConfig, batch: NewsBatch) -> dict[str, Tensor]:
        text = split_title(
            batch.text_tokens, batch.text_lengths, batch.title_lengths, model.headline_words, model.body_words
        )
        return text | {"visual": batch.visual_tokens, "visual_lengths": batch.visual_lengths}

    def forward(self, network: ReleasedNetwork, **sentences: Any) -> tuple[SafeOutput, ReleasedCache]:
        return released_forward(network.weights(), **sentences)

    def step(
        self, network: ReleasedNetwork, label: Tensor, **arguments: Any
    ) -> tuple[SafeOutput, SafeLosses, dict[str, Tensor]]:
        return released_step(network, label, **arguments)

    def encoders(self, cache: ReleasedCache) -> dict[str, TextCnnCache]:
        dtype = torch.promote_types(cache.features.dtype, torch.float32)
        word_map = cache.weights.word_map.to(dtype)
        channels = [
            channel._replace(words=Words(F.linear(channel.words.vectors.to(dtype), word_map), channel.words.tokens))
            for channel in cache.channels
        ]
        return dict(zip(("headline", "body", "image"), channels, strict=True))

    def cuts(self, model: ModelConfig, title_words: int) -> dict[str, slice]:
        return {
            "headline": slice(0, min(title_words, model.headline_words)),
            "body": slice(title_words, title_words + model.body_words),
        }

    def check(self, model: ModelConfig) -> None:
        if model.update is Update.algorithm1:
            raise UserError(
                "model.update=algorithm1: the paper's loop knows one text, one image and no map of the words. Train "
                "model=released with model.update=closed_form, or take model=safe."
            )
        super().check(model)

    def check_sizes(self, model: ModelConfig) -> None:
        for key in SIZES_OF_RELEASED:
            require_at_least(f"model.{key}", getattr(model, key) or 0, 1)


variants.add(ReleasedVariant("released", updates=(Update.closed_form, Update.autograd), explained=True))
