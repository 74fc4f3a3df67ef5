"""The architecture of the authors' released code, built from SAFE's own parts, forward and closed form.

Three channels (headline, body, the image's sentence), each a Text-CNN; one linear map M for the words of all three,
before the convolutions; M_p reads h ⊕ b ⊕ v; M_s compares h ⊕ b with v ⊕ v.

M has no bias. The zero vector of padding then stays zero, and nothing is lost: a constant added to every word adds the
same number to every score of a filter, which the filter's own bias does as well.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .loss import SafeLosses, combine_feature_gradients, safe_loss, similarity_loss_backward
from .prediction import PredictorWeights, fake_probability, prediction_backward, prediction_error, prediction_forward
from .safe import SafeOutput, name_encoder, name_predictor
from .similarity import SimilarityCache, similarity_backward, similarity_forward
from .text_cnn import TextCnnCache, TextCnnWeights, as_table, check_shapes, encode, prepare, text_cnn_backward
from .windows import FilterBank, Words

Sentences = Tensor | Words


class ReleasedWeights(NamedTuple):
    """The parameters, or the gradient with respect to them."""

    word_map: Tensor  # (M, E): every word vector is mapped from E numbers to M
    headline: TextCnnWeights
    body: TextCnnWeights
    visual: TextCnnWeights
    predictor: PredictorWeights  # weight (2, 3D)


class ReleasedCache(NamedTuple):
    """What `released_backward` reads of the forward pass."""

    channels: tuple[TextCnnCache, ...]  # headline, body, visual; their words are those before the map
    similarity: SimilarityCache
    features: Tensor  # (B, 3D): h ⊕ b ⊕ v
    weights: ReleasedWeights


class ReleasedModel(Protocol):
    """What `released_step` reads of `safe_exp.network.released_network.ReleasedNetwork`."""

    def weights(self) -> ReleasedWeights: ...


def released_forward(
    weights: ReleasedWeights,
    headline: Sentences,
    body: Sentences,
    visual: Sentences,
    headline_lengths: Tensor | None = None,
    body_lengths: Tensor | None = None,
    visual_lengths: Tensor | None = None,
) -> tuple[SafeOutput, ReleasedCache]:
    """Run the network on a batch of articles; differentiable by autograd.

    Args:
        weights: the parameters.
        headline, body, visual: word vectors (B, L, E), each with its own L, or `Words`: their numbers and a table.
        headline_lengths, body_lengths, visual_lengths: (B,), or None for all of L.
    Returns:
        The output, with h ⊕ b (B, 2D) for its text features, and what `released_backward` needs.
    Raises:
        ValueError: a shape does not fit the weights; see `text_cnn_forward`.
    """
    h, headline_cache = channel_forward(headline, weights.word_map, weights.headline, headline_lengths)  # (B, D)
    b, body_cache = channel_forward(body, weights.word_map, weights.body, body_lengths)  # (B, D)
    v, visual_cache = channel_forward(visual, weights.word_map, weights.visual, visual_lengths)  # (B, D)
    features = torch.cat([h, b, v], dim=1)  # (B, 3D)
    logits = prediction_forward(features, weights.predictor)  # (B, 2)
    text = torch.cat([h, b], dim=1)  # (B, 2D)
    similarity, similarity_cache = similarity_forward(text, torch.cat([v, v], dim=1))  # (B,)
    output = SafeOutput(text, v, logits, fake_probability(logits), similarity)
    return output, ReleasedCache((headline_cache, body_cache, visual_cache), similarity_cache, features, weights)


def released_backward(
    output: SafeOutput, cache: ReleasedCache, label: Tensor, *, alpha: float, beta: float, similarity_loss: str
) -> ReleasedWeights:
    """Gradient of the batch mean of L = α L_p + β L_s with respect to every weight; arguments as in `safe_loss`."""
    weights, dtype = cache.weights, cache.features.dtype
    mean = 1 / max(len(label), 1)  # every article weighs 1/B in the mean
    d_logits = (mean * prediction_error(output.logits, label)).to(dtype)  # (B, 2)
    d_prediction, d_predictor = prediction_backward(d_logits, cache.features, weights.predictor)  # (B, 3D)
    d_similarity = mean * similarity_loss_backward(output.similarity, label, similarity_loss)  # (B,)
    d_text, d_image_twice = similarity_backward(d_similarity, cache.similarity)  # (B, 2D), (B, 2D)
    d_image = d_image_twice.unflatten(1, (2, -1)).sum(dim=1)  # (B, D): v stands in v ⊕ v twice
    d_features = combine_feature_gradients(d_prediction, torch.cat([d_text, d_image], dim=1).to(dtype), alpha, beta)
    channels = [
        channel_backward(d, channel, weights.word_map)
        for d, channel in zip(d_features.chunk(3, dim=1), cache.channels, strict=True)
    ]
    d_word_map = sum(d_map for _, d_map in channels)  # (M, E): all three share it
    d_predictor = PredictorWeights(alpha * d_predictor.weight, alpha * d_predictor.bias)
    return ReleasedWeights(d_word_map, *(d_channel for d_channel, _ in channels), d_predictor)


def channel_forward(
    sentences: Sentences, word_map: Tensor, weights: TextCnnWeights, lengths: Tensor | None
) -> tuple[Tensor, TextCnnCache]:
    """A Text-CNN on mapped words, features (B, D); the words in its cache are those before the map."""
    check_shapes(sentences, word_map.shape[1], lengths)
    sentences, lengths = prepare(sentences, lengths, weights.filters)
    if isinstance(sentences, Words):
        words = sentences
        mapped = Words(F.linear(words.vectors, word_map), words.tokens)  # each word is mapped once
    else:
        words = as_table(sentences)
        mapped = F.linear(sentences, word_map)  # (B, L, M)
    features, cache = encode(mapped, lengths, weights)
    return features, cache._replace(words=words)


def channel_backward(d_features: Tensor, cache: TextCnnCache, word_map: Tensor) -> tuple[TextCnnWeights, Tensor]:
    """Carry ∂L/∂features (B, D) back to one channel's weights and, (M, E), to the map.

    A filter w meets the words as w · M x = (Mᵀ w) · x, so Mᵀ w is a filter over the words before the map. With G its
    gradient, (K·h, E), the one that Eq. (17) gives, the chain rule leaves G Mᵀ for w, and wᵀ G for M.
    """
    before_map = text_cnn_backward(d_features, cache)  # its filters are G
    d_filters = tuple(FilterBank(bank.weight @ word_map.T, bank.bias) for bank in before_map.filters)
    d_word_map = sum(
        filters.weight.flatten(0, 1).T @ g.weight.flatten(0, 1)
        for filters, g in zip(cache.weights.filters, before_map.filters, strict=True)
    )  # (M, E)
    return before_map._replace(filters=d_filters), d_word_map


@torch.no_grad()  # the gradients are derived by hand; autograd has nothing to record
def released_step(
    net: ReleasedModel, label: Tensor, *, alpha: float, beta: float, similarity_loss: str = "real_only", **articles
) -> tuple[SafeOutput, SafeLosses, dict[str, Tensor]]:
    """One forward pass and, from it, the batch-mean losses and the exact gradient of every parameter, by name.

    Args:
        net: a `ReleasedNetwork`; its parameters and their `.grad` stay as they are.
        articles: what `released_forward` takes beside the weights, by keyword.
        label, alpha, beta, similarity_loss: as in `safe_loss`.
    """
    output, cache = released_forward(net.weights(), **articles)
    losses = safe_loss(output, label, alpha=alpha, beta=beta, similarity_loss=similarity_loss)
    gradients = released_backward(output, cache, label, alpha=alpha, beta=beta, similarity_loss=similarity_loss)
    named = {"word_map.weight": gradients.word_map}
    for name, channel in (
        ("text_encoder.headline", gradients.headline),
        ("text_encoder.body", gradients.body),
        ("visual_encoder", gradients.visual),
    ):
        named |= name_encoder(name, channel)
    return output, losses, named | name_predictor(gradients.predictor)
