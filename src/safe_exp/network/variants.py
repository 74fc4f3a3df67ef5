"""From `model.variant` to a network: how it is built, what it reads of an article, and its closed-form step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from safe_exp.config import ModelConfig, Variant
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import Words, closed_form_step, released_step
from safe_exp.equations.released import released_forward
from safe_exp.equations.safe import safe_forward
from safe_exp.network import SafeNetwork
from safe_exp.network.released_network import ReleasedNetwork, split_title
from safe_exp.system.errors import UserError


def build_network(model: ModelConfig, text_dim: int, visual_dim: int) -> SafeNetwork | ReleasedNetwork:
    """The network of `model.variant`, with fresh weights, for word vectors of E and Ev numbers."""
    shape = list(model.filter_sizes), model.num_filters, model.feature_dim
    if model.variant is not Variant.released:
        return SafeNetwork(text_dim, visual_dim, *shape, variant=model.variant.value)
    if visual_dim != text_dim:
        raise UserError(
            f"model=released maps the words of text and image by one matrix, but theirs have {text_dim} and "
            f"{visual_dim} numbers. Describe images in words (captioner=file or captioner=blip), or take model=safe."
        )
    return ReleasedNetwork(text_dim, model.word_dim, *shape)


def sentences(model: ModelConfig, batch: NewsBatch) -> dict[str, Tensor]:
    """The sentences that the network reads, by its arguments' names: word numbers (B, L) and, as `…_lengths`, (B,)."""
    visual = {"visual": batch.visual_tokens, "visual_lengths": batch.visual_lengths}
    if model.variant is Variant.released:
        text = split_title(
            batch.text_tokens, batch.text_lengths, batch.title_lengths, model.headline_words, model.body_words
        )
        return text | visual
    text = {"text": batch.text_tokens, "text_lengths": batch.text_lengths}
    unread = {"text": None, "visual": None}
    return unread | {n: v for n, v in (text | visual).items() if n.removesuffix("_lengths") in model.variant.reads}


def embedded(
    model: ModelConfig,
    batch: NewsBatch,
    text_vectors: Tensor,
    visual_vectors: Tensor,
    join: Callable[[Tensor, Tensor], Any] = Words,
) -> dict[str, Any]:
    """The arguments of the network's forward pass: each sentence joined with its table of word vectors.

    Args:
        text_vectors, visual_vectors: word vectors (V, E) and (Vv, Ev), row 0 = padding.
        join: takes a table and word numbers (B, L). `Words` keeps them apart, so that each word is multiplied once.
    """
    arguments: dict[str, Any] = sentences(model, batch)
    for name, tokens in arguments.items():
        if tokens is not None and not name.endswith("_lengths"):
            arguments[name] = join(visual_vectors if name == "visual" else text_vectors, tokens)
    return arguments


def forward_of(model: ModelConfig) -> Callable[..., Any]:
    """The function that takes weights and sentences, and returns the output with the cache of what came between."""
    return released_forward if model.variant is Variant.released else safe_forward


def closed_form_of(model: ModelConfig) -> Callable[..., Any]:
    """The function that computes output, losses and exact gradients of one mini-batch without autograd."""
    return released_step if model.variant is Variant.released else closed_form_step
