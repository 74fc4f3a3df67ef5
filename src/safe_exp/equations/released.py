"""The architecture of the authors' released code, forward and backward, built from SAFE's own parts.

Three channels (headline, body, the image's sentence), each a Text-CNN; one linear map M for the words of all three,
before the convolutions; M_p reads h ⊕ b ⊕ v; M_s compares h ⊕ b with v ⊕ v.

M has no bias. The zero vector of padding then stays zero. Nothing is lost: a constant added to every word adds the same
number to every score of a filter, as the filter's own bias does.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .dropout import DropoutMasks, apply_mask
from .loss import (
    SafeLosses,
    batch_mean_backward,
    combine_feature_gradients,
    safe_loss,
    similarity_loss_backward,
)
from .prediction import PredictorWeights, fake_probability, prediction_backward, prediction_error, prediction_forward
from .safe import SafeOutput, name_encoder, name_predictor, require
from .similarity import SimilarityCache, similarity_backward, similarity_forward
from .text_cnn import (
    TextCnnCache,
    TextCnnWeights,
    as_table,
    check_shapes,
    encode_padded,
    pad_sentences,
    text_cnn_backward,
)
from .windows import FilterBank, Sentences, Words, distinct_words, fastest_form, multiply_rows


class ReleasedWeights(NamedTuple):
    """The parameters, or the gradient with respect to them."""

    word_map: Tensor  # (M, E): every word vector is mapped from E numbers to M
    headline: TextCnnWeights
    body: TextCnnWeights
    visual: TextCnnWeights
    predictor: PredictorWeights  # weight (2, 3D)


class ReleasedCache(NamedTuple):
    """Values of the forward pass that `_released_backward` reads."""

    channels: tuple[TextCnnCache, ...]  # headline, body, visual; their words are those before the map
    similarity: SimilarityCache
    features: Tensor  # (B, 3D): h ⊕ b ⊕ v, times the mask if there is one
    weights: ReleasedWeights
    mask: Tensor | None = None  # (B, 3D): dropout of h ⊕ b ⊕ v as M_p reads it


class ReleasedModel(Protocol):
    """Part of `safe_exp.network.released_network.ReleasedNetwork` that `released_step` reads."""

    def weights(self) -> ReleasedWeights:
        """The parameters themselves."""


def released_forward(
    weights: ReleasedWeights,
    headline: Sentences,
    body: Sentences,
    visual: Sentences,
    headline_lengths: Tensor | None = None,
    body_lengths: Tensor | None = None,
    visual_lengths: Tensor | None = None,
    masks: DropoutMasks | None = None,
) -> tuple[SafeOutput, ReleasedCache]:
    """Run the network on a batch of articles; differentiable by autograd.

    Args:
        weights: the parameters.
        headline, body, visual: word vectors (B, L, E), each with its own L, or `Words`: their numbers and a table.
        headline_lengths, body_lengths, visual_lengths: words in each sentence (B,), or None for all of L.
        masks: of this step's dropout, `pooled` in the order of the channels, `features` (B, 3D); None: it is off.
    Returns:
        The output, with h ⊕ b (B, 2D) for its text features, and the cache that `_released_backward` reads.
    Raises:
        ValueError: a shape does not fit the weights, as in `text_cnn_forward`.
    Example:
        >>> import torch
        >>> bank = FilterBank(torch.ones(1, 1, 1), torch.zeros(1))  # one filter, which takes the mapped word as it is
        >>> channels = [TextCnnWeights((bank,), torch.tensor([[w]]), torch.zeros(1)) for w in (3.0, 4.0, 1.0)]
        >>> predictor = PredictorWeights(torch.zeros(2, 3), torch.zeros(2))
        >>> weights = ReleasedWeights(torch.tensor([[0.5, 0.5]]), *channels, predictor)  # M: E = 2 numbers to 1
        >>> word = torch.tensor([[[2.0, 0.0]]])  # (1, 1, 2)
        >>> output, _ = released_forward(weights, headline=word, body=word, visual=word)
        >>> output.text_features.tolist(), output.visual_features.tolist()
        ([[3.0, 4.0]], [[1.0]])
        >>> print(f"{output.similarity.item():.4f}")  # of [3, 4] and [1, 1]: (1 + 7 / (5 √2)) / 2
        0.9950
    """
    pooled, mask = (masks.pooled, masks.features) if masks is not None else ((), None)
    h_mask, b_mask, v_mask = pooled or (None, None, None)
    h, headline_cache = _channel_forward(headline, weights.word_map, weights.headline, headline_lengths, h_mask)
    b, body_cache = _channel_forward(body, weights.word_map, weights.body, body_lengths, b_mask)  # (B, D)
    v, visual_cache = _channel_forward(visual, weights.word_map, weights.visual, visual_lengths, v_mask)  # (B, D)
    features = apply_mask(torch.cat([h, b, v], dim=1), mask)  # (B, 3D)
    logits = prediction_forward(features, weights.predictor)  # (B, 2)
    text = torch.cat([h, b], dim=1)  # (B, 2D)
    similarity, similarity_cache = similarity_forward(text, torch.cat([v, v], dim=1))  # (B,)
    output = SafeOutput(text, v, logits, fake_probability(logits), similarity)
    channels = headline_cache, body_cache, visual_cache
    return output, ReleasedCache(channels, similarity_cache, features, weights, mask)


def _released_backward(
    output: SafeOutput,
    cache: ReleasedCache,
    label: Tensor,
    *,
    alpha: float,
    beta: float,
    similarity_loss: str,
    weight: Tensor | None,
    label_smoothing: float,
) -> ReleasedWeights:
    """Compute the gradient of the batch mean of L = α L_p + β L_s for every weight, in the weights' shapes.

    Args:
        output, cache: the two results of `released_forward`.
        label: 1 = fake, 0 = real, (B,).
        alpha, beta, similarity_loss, weight, label_smoothing: as in `safe_loss`.
    """
    weights, dtype = cache.weights, cache.features.dtype
    d_logits = batch_mean_backward(prediction_error(output.logits, label, label_smoothing), weight).to(dtype)  # (B, 2)
    d_prediction, d_predictor = prediction_backward(d_logits, cache.features, weights.predictor)  # (B, 3D)
    d_prediction = apply_mask(d_prediction, cache.mask)  # (B, 3D)
    similarity = require(output.similarity, "similarity")
    d_similarity = batch_mean_backward(similarity_loss_backward(similarity, label, similarity_loss), weight)  # (B,)
    d_text, d_image_twice = similarity_backward(d_similarity, cache.similarity)  # (B, 2D), (B, 2D)
    d_image = d_image_twice.unflatten(1, (2, -1)).sum(dim=1)  # (B, D): v stands in v ⊕ v twice
    d_features = combine_feature_gradients(d_prediction, torch.cat([d_text, d_image], dim=1).to(dtype), alpha, beta)
    (d_headline, headline_map), (d_body, body_map), (d_visual, visual_map) = (
        _channel_backward(d, channel, weights.word_map)
        for d, channel in zip(d_features.chunk(3, dim=1), cache.channels, strict=True)
    )
    d_word_map = headline_map + body_map + visual_map  # (M, E): all three share it
    d_predictor = PredictorWeights(alpha * d_predictor.weight, alpha * d_predictor.bias)
    return ReleasedWeights(d_word_map, d_headline, d_body, d_visual, d_predictor)


def _channel_forward(
    sentences: Sentences, word_map: Tensor, weights: TextCnnWeights, lengths: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, TextCnnCache]:
    """Run a Text-CNN on mapped words: features (B, D), and a cache whose words are those before the map.

    Args:
        sentences: word vectors (B, L, E), or word numbers (B, L) and their table (V, E).
        word_map: M, (M, E).
        weights: of a Text-CNN over words of M numbers.
        lengths: words in each sentence (B,); None: all of L.
        mask: dropout of ĉ, (B, g·K); None: it is off.
    """
    check_shapes(sentences, word_map.shape[1], lengths)
    sentences, lengths = pad_sentences(sentences, lengths, weights.filters)
    mapped: Sentences
    if isinstance(sentences, Words):
        words = distinct_words(sentences)
        mapped = fastest_form(Words(multiply_rows(words.vectors, word_map), words.tokens), weights.filters)
    else:
        words = as_table(sentences)
        mapped = F.linear(sentences, word_map)  # (B, L, M)
    features, cache = encode_padded(mapped, lengths, weights, mask)
    return features, cache._replace(words=words)


def _channel_backward(d_features: Tensor, cache: TextCnnCache, word_map: Tensor) -> tuple[TextCnnWeights, Tensor]:
    """Carry ∂L/∂features (B, D) back to one channel's weights and to the map (M, E).

    A filter w meets the words as w · M x = (Mᵀ w) · x, so Mᵀ w is a filter over the words before the map. Eq. (17)
    gives the gradient G of that filter, (K·h, E); by the chain rule w has the gradient G Mᵀ, and M has wᵀ G.
    """
    before_map = text_cnn_backward(d_features, cache)  # its filters are G
    d_filters = tuple(FilterBank(bank.weight @ word_map.T, bank.bias) for bank in before_map.filters)
    d_word_maps = (
        filters.weight.flatten(0, 1).T @ g.weight.flatten(0, 1)
        for filters, g in zip(cache.weights.filters, before_map.filters, strict=True)
    )  # (M, E) of each width
    d_word_map = reduce(torch.add, d_word_maps)
    return before_map._replace(filters=d_filters), d_word_map


@torch.no_grad()  # the gradients are derived by hand; autograd has nothing to record
def released_step(
    net: ReleasedModel,
    label: Tensor,
    *,
    alpha: float,
    beta: float,
    similarity_loss: str = "real_only",
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    **articles: Any,
) -> tuple[SafeOutput, SafeLosses, dict[str, Tensor]]:
    """Run one forward pass, and compute from it the batch-mean losses and their exact gradients.

    Args:
        net: a `ReleasedNetwork`; its parameters and their `.grad` stay as they are.
        label: 1 = fake, 0 = real, (B,).
        alpha, beta, similarity_loss, weight, label_smoothing: as in `safe_loss`.
        articles: the other arguments of `released_forward`: `headline`, `body` and `visual`, their lengths, `masks`.
    Returns:
        The output, the losses, each (), and {parameter name: gradient} in the parameters' shapes.
    Raises:
        ValueError: a shape does not fit, α or β is negative, the similarity loss is unknown, or ε is not in [0, 1).
    Example:
        >>> import torch
        >>> from safe_exp.network.released_network import ReleasedNetwork
        >>> net = ReleasedNetwork(vector_dim=6, word_dim=3, filter_sizes=[2], num_filters=2, feature_dim=4).double()
        >>> articles = {name: torch.rand(8, 5, 6).double() for name in ("headline", "body", "visual")}
        >>> label, loss = torch.tensor([0, 1] * 4), {"alpha": 0.6, "beta": 0.4}
        >>> output, losses, gradients = released_step(net, label, **loss, **articles)
        >>> safe_loss(net(**articles), label, **loss).total.backward()
        >>> all(torch.allclose(gradients[name], parameter.grad) for name, parameter in net.named_parameters())
        True
    """
    output, cache = released_forward(net.weights(), **articles)
    loss: dict[str, Any] = {"alpha": alpha, "beta": beta, "similarity_loss": similarity_loss}
    loss |= {"weight": weight, "label_smoothing": label_smoothing}
    losses = safe_loss(output, label, **loss)
    gradients = _released_backward(output, cache, label, **loss)
    named = {"word_map.weight": gradients.word_map}
    for name, channel in (
        ("text_encoder.headline", gradients.headline),
        ("text_encoder.body", gradients.body),
        ("visual_encoder", gradients.visual),
    ):
        named |= name_encoder(name, channel)
    return output, losses, named | name_predictor(gradients.predictor)
