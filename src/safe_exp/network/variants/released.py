"""The architecture of the authors' released code: headline, body and the image's sentence, one map of all words."""

from __future__ import annotations

from typing import Any, NamedTuple

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
from safe_exp.network.variants import Variant, variants
from safe_exp.system.errors import UserError


class ReleasedSizes(NamedTuple):
    """The sizes that SAFE does not have."""

    word_dim: int  # M, numbers in a mapped word vector
    headline_words: int  # longer headlines are cut
    body_words: int  # longer bodies are cut


class ReleasedVariant(Variant[ReleasedNetwork]):
    """The released architecture, with its own closed form."""

    def build(self, model: ModelConfig, text_dim: int, visual_dim: int) -> ReleasedNetwork:
        if visual_dim != text_dim:
            raise UserError(
                f"model=released maps the words of text and image by one matrix, but theirs have {text_dim} and "
                f"{visual_dim} numbers. Describe images in words (captioner=file or captioner=blip), or take "
                "model=safe."
            )
        return ReleasedNetwork(text_dim, _read_sizes(model).word_dim, **model.network_sizes)

    def sentences(self, model: ModelConfig, batch: NewsBatch) -> dict[str, Tensor | None]:
        _, headline_words, body_words = _read_sizes(model)
        text = split_title(batch.text_tokens, batch.text_lengths, batch.title_lengths, headline_words, body_words)
        return {**text, "visual": batch.visual_tokens, "visual_lengths": batch.visual_lengths}

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
        _, headline_words, body_words = _read_sizes(model)
        return {
            "headline": slice(0, min(title_words, headline_words)),
            "body": slice(title_words, title_words + body_words),
        }

    def check(self, model: ModelConfig) -> None:
        if model.update is Update.algorithm1:
            raise UserError(
                "model.update=algorithm1: the paper's loop knows one text, one image and no map of the words. Train "
                "model=released with model.update=closed_form, or take model=safe."
            )
        super().check(model)

    def check_sizes(self, model: ModelConfig) -> None:
        _read_sizes(model)


def _read_sizes(model: ModelConfig) -> ReleasedSizes:
    """Read the sizes that SAFE does not have.

    Raises:
        UserError: one is missing or below 1; the message names the key.
    """
    sizes = ReleasedSizes(model.word_dim or 0, model.headline_words or 0, model.body_words or 0)
    for key, size in sizes._asdict().items():
        require_at_least(f"model.{key}", size, 1)
    return sizes


variants.add(
    ReleasedVariant("released", updates=(Update.closed_form, Update.autograd), regularised=True, explained=True)
)
