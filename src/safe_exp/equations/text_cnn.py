"""M_t and M_v, the Text-CNN: convolution, ReLU, max over time, projection; forward, and backward by Eqs. (16), (17).

Max over time keeps one window for each filter and article, so only that window carries gradient. The backward pass
reads those windows straight from the word vectors and costs a small part of the forward pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class FilterBank(NamedTuple):
    """The K filters of one window width h (the paper's w and b), or the gradient with respect to them."""

    weight: Tensor  # (K, h, E)
    bias: Tensor  # (K,)


class TextCnnWeights(NamedTuple):
    """θ_t or θ_v, or the gradient with respect to it."""

    filters: tuple[FilterBank, ...]  # one bank for each width in H
    project_weight: Tensor  # (D, g·K), columns in the order of the filters; the paper's W_t
    project_bias: Tensor  # (D,), the paper's b_t


class TextCnnCache(NamedTuple):
    """What `text_cnn_backward` reads of the forward pass."""

    embedded: Tensor  # (B, L, E), padding rows zero, L at least the widest window
    positions: tuple[Tensor, ...]  # (B, K) for each width: î, where the filter's best window begins
    pooled: Tensor  # (B, g·K): ĉ, the best window's value after ReLU
    weights: TextCnnWeights


def text_cnn_forward(
    embedded: Tensor, weights: TextCnnWeights, lengths: Tensor | None = None
) -> tuple[Tensor, TextCnnCache]:
    """Encode a batch of sentences as feature vectors: c^i = ReLU(w · x^{i:i+h-1} + b), ĉ = max over i, W ĉ + b.

    Source: Zhou, Wu & Zafarani 2020 (SAFE), what Eqs. (16)-(17) differentiate; Kim 2014 for the Text-CNN.
    Windows that begin past n - h + 1 do not exist, so neither padding nor batch mates change a result. A sentence
    shorter than h is padded with zero vectors to h and has one window. The max is taken before ReLU, which is
    monotone: the value is the same, and a K · (n - h + 1) times smaller array is rectified.

    Args:
        embedded: word vectors (B, L, E); rows past a sentence's length are not read.
        weights: one bank of filters for each width, and the projection.
        lengths: n, words in each sentence (B,); None: all of L.
    Returns:
        Features (B, D), and what `text_cnn_backward` needs to run the same path in reverse.
    Raises:
        ValueError: `embedded` is not (B, L, E) with the filters' E, or `lengths` is not (B,).
    """
    _check_shapes(embedded, weights, lengths)
    widest = max(bank.weight.shape[1] for bank in weights.filters)
    if lengths is None and embedded.shape[1] < widest:
        # The rows appended for the widest filter must not open further windows for the narrower ones.
        lengths = torch.full(embedded.shape[:1], embedded.shape[1], device=embedded.device)  # (B,)
    embedded = _zero_padding(embedded, lengths, least=widest)
    channels_first = embedded.transpose(1, 2)  # (B, E, L)
    values, positions = [], []
    for bank in weights.filters:
        scores = F.conv1d(channels_first, bank.weight.transpose(1, 2), bank.bias)  # (B, K, L - h + 1)
        if lengths is not None:
            windows = (lengths - bank.weight.shape[1] + 1).clamp(min=1)  # (B,)
            starts = torch.arange(scores.shape[2], device=scores.device)
            scores = scores.masked_fill(starts >= windows[:, None, None], -torch.inf)  # (B, K, L - h + 1)
        value, position = scores.max(dim=2)  # (B, K), (B, K)
        values.append(value)
        positions.append(position)
    pooled = torch.cat(values, dim=1).relu()  # (B, g·K)
    features = F.linear(pooled, weights.project_weight, weights.project_bias)  # (B, D)
    return features, TextCnnCache(embedded, tuple(positions), pooled, weights)


def text_cnn_backward(d_features: Tensor, cache: TextCnnCache) -> TextCnnWeights:
    """Carry ∂L/∂t (B, D), summed over the batch, back to every weight of the encoder: Eqs. (16) and (17)."""
    d_project_weight, d_project_bias = projection_backward(d_features, cache.pooled)
    d_scores = d_features @ cache.weights.project_weight  # (B, g·K): (W_{:,k})ᵀ B of Eq. (17)
    # The printed Eq. (17) leaves out ReLU's derivative; where ĉ = 0 no window is active and nothing flows back.
    d_scores = d_scores * (cache.pooled > 0)
    num_filters = cache.positions[0].shape[1]
    d_filters = tuple(
        filters_backward(d_bank, position, cache.embedded, width=bank.weight.shape[1])
        for d_bank, position, bank in zip(
            d_scores.split(num_filters, dim=1), cache.positions, cache.weights.filters, strict=True
        )
    )
    return TextCnnWeights(d_filters, d_project_weight, d_project_bias)


def projection_backward(d_features: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. (16): column k of W moves along ĉ_k B, the bias along B; summed over the batch.

    The paper writes ĉ as a diagonal matrix D_t; inside its loop over h_k that scales column k of W by ĉ_k.

    Args:
        d_features: B of Eq. (18), (B, D).
        pooled: ĉ, (B, g·K).
    Returns:
        Gradients of `project.weight` (D, g·K) and `project.bias` (D,).
    """
    return d_features.T @ pooled, d_features.sum(dim=0)


def filters_backward(d_scores: Tensor, positions: Tensor, embedded: Tensor, width: int) -> FilterBank:
    """Eq. (17): filter k moves along x^{î:î+h-1} (W_{:,k}ᵀ B), its bias along W_{:,k}ᵀ B; summed over the batch.

    Row j of filter k's gradient is a weighted sum of B word vectors, the ones at î + j. `embedding_bag` sums them where
    they lie: gathering the windows would write B·K·h·E numbers first, ten times the cost of this.

    Args:
        d_scores: ∂L/∂(w · x + b) at each filter's best window, (B, K).
        positions: î, (B, K).
        embedded: word vectors as the forward pass saw them, (B, L, E).
        width: h.
    Returns:
        Gradients of the bank's weight (K, h, E) and bias (K,).
    """
    batch, length, dim = embedded.shape
    num_filters = d_scores.shape[1]
    article_rows = torch.arange(batch, device=embedded.device) * length  # (B,) where each article begins
    offsets = torch.arange(width, device=embedded.device)
    rows = (positions + article_rows[:, None]).T[:, None, :] + offsets[:, None]  # (K, h, B)
    weights = d_scores.T[:, None, :].expand(num_filters, width, batch)  # (K, h, B)
    # Sums of bfloat16 terms are kept in float32; float32 and float64 stay what they are.
    dtype = torch.promote_types(d_scores.dtype, torch.float32)
    d_weight = F.embedding_bag(
        rows.reshape(num_filters * width, batch),
        embedded.reshape(batch * length, dim).to(dtype),
        per_sample_weights=weights.reshape(num_filters * width, batch).to(dtype),
        mode="sum",
    )  # (K·h, E)
    return FilterBank(d_weight.view(num_filters, width, dim).to(d_scores.dtype), d_scores.sum(dim=0))


def _check_shapes(embedded: Tensor, weights: TextCnnWeights, lengths: Tensor | None) -> None:
    dim = weights.filters[0].weight.shape[2]
    if embedded.dim() != 3 or embedded.shape[2] != dim:
        raise ValueError(f"word vectors have shape {tuple(embedded.shape)}; the filters expect (B, L, {dim}).")
    if lengths is not None and lengths.shape != embedded.shape[:1]:
        raise ValueError(
            f"lengths have shape {tuple(lengths.shape)}; expected ({embedded.shape[0]},), one per article."
        )


def _zero_padding(embedded: Tensor, lengths: Tensor | None, least: int) -> Tensor:
    """Zero the rows past each length and append zero rows up to `least`, so that the widest window fits once."""
    if lengths is not None:
        # Whatever stands there (even NaN) must not reach the one window of a sentence shorter than h.
        padding = torch.arange(embedded.shape[1], device=embedded.device) >= lengths[:, None]  # (B, L)
        embedded = embedded.masked_fill(padding[:, :, None], 0)
    if embedded.shape[1] < least:
        embedded = F.pad(embedded, (0, 0, 0, least - embedded.shape[1]))  # (B, least, E)
    return embedded
