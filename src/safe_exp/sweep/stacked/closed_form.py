"""The closed form for R runs of one shape at once: a leading axis of runs, and one α and β for each.

Runs that read the same articles are one Text-CNN with R·K filters up to the pooling: the functions of one run serve
them as they are. The similarity and the losses belong to an article: they are computed for R·B articles. Only the
linear maps, the projections and W_p, are products for each run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from safe_exp.equations.loss import (
    SIMILARITY_FLOOR,
    SafeLosses,
    combine_feature_gradients,
    prediction_loss,
    similarity_loss_backward,
    similarity_loss_forward,
)
from safe_exp.equations.prediction import PredictorWeights, prediction_error
from safe_exp.equations.safe import SafeOutput, SafeWeights, require
from safe_exp.equations.similarity import SimilarityCache, similarity_backward, similarity_forward
from safe_exp.equations.text_cnn import TextCnnWeights, as_table, filters_backward, pad_sentences, pool
from safe_exp.equations.windows import FilterBank, Sentences, Words, convolve, window_sums


class Share(NamedTuple):
    """The mini-batch of some runs that stand side by side in the stack; all shares of a step have the same B."""

    runs: slice
    sentences: Mapping[str, Any]  # text, visual, text_lengths and visual_lengths, as `safe_forward` takes them
    label: Tensor  # (B,), 1 = fake


class PooledShare(NamedTuple):
    """One share's part of an encoder's cache."""

    runs: slice
    words: Words
    positions: tuple[Tensor, ...]  # î, (B, C·K) for each width; C runs


class StackedEncoderCache(NamedTuple):
    """Values of one encoder's forward pass that the backward pass reads."""

    shares: list[PooledShare]
    pooled: Tensor  # ĉ, (R, B, g·K)


class StackedCache(NamedTuple):
    """Values of the forward pass that `stacked_backward` reads."""

    text: StackedEncoderCache | None
    visual: StackedEncoderCache | None
    similarity: SimilarityCache | None  # of R·B articles
    features: Tensor  # t ⊕ v, (R, B, 2D)


@torch.no_grad()
def stacked_step(
    weights: SafeWeights, shares: Sequence[Share], *, alpha: Tensor, beta: Tensor, similarity_loss: str = "real_only"
) -> tuple[SafeOutput, SafeLosses, SafeWeights]:
    """Compute `closed_form_step` for every run.

    Args:
        weights: the parameters, in the shapes of `SafeWeights` behind a leading axis of R runs.
        shares: the mini-batch of each run; together they cover the runs in their order.
        alpha, beta: α and β of each run, (R,).
        similarity_loss: `real_only` or `both_classes`, the same for all.
    Returns:
        Outputs (R, B, …), batch-mean losses (R,) and their exact gradients, in the shapes of the weights.
    Raises:
        ValueError: a variant without predictor lacks an encoder.
    """
    output, cache = stacked_forward(weights, shares)
    label = torch.cat([share.label.expand(share.runs.stop - share.runs.start, -1) for share in shares])  # (R, B)
    losses = stacked_loss(output, label, alpha, beta, similarity_loss)
    return output, losses, stacked_backward(weights, output, cache, label, alpha, beta, similarity_loss)


@torch.no_grad()
def stacked_forward(weights: SafeWeights, shares: Sequence[Share]) -> tuple[SafeOutput, StackedCache]:
    """Compute `safe_forward` for every run: t, v (R, B, D), logits (R, B, 2), ŷ and s (R, B); arguments as above."""
    t = v = text_cache = visual_cache = similarity = similarity_cache = None
    if weights.text is not None:
        t, text_cache = _encode(weights.text, shares, "text")  # (R, B, D)
    if weights.visual is not None:
        v, visual_cache = _encode(weights.visual, shares, "visual")  # (R, B, D)
    features = torch.cat([f for f in (t, v) if f is not None], dim=2)  # (R, B, 2D): t ⊕ v
    if t is not None and v is not None:
        similarity, similarity_cache = similarity_forward(t.flatten(0, 1), v.flatten(0, 1))  # (R·B,)
        similarity = similarity.view(t.shape[:2])  # (R, B)
    if weights.predictor is not None:
        logits = _linear(features, *weights.predictor)  # (R, B, 2)
    else:  # SAFE\W, as in safe_forward
        similarity = require(similarity, "similarity")
        logits = torch.stack([1 - similarity, similarity], dim=2).clamp(min=SIMILARITY_FLOOR).log()
    probability = logits.softmax(dim=2)[..., 0]  # (R, B)
    return (
        SafeOutput(t, v, logits, probability, similarity),
        StackedCache(text_cache, visual_cache, similarity_cache, features),
    )


def stacked_loss(output: SafeOutput, label: Tensor, alpha: Tensor, beta: Tensor, similarity_loss: str) -> SafeLosses:
    """Compute `safe_loss` for every run, each (R,); label (R, B), alpha and beta (R,)."""
    prediction = prediction_loss(output.logits.flatten(0, 1), label.flatten()).view(label.shape).mean(dim=1)
    if output.similarity is None:
        return SafeLosses(alpha * prediction, prediction, torch.zeros_like(prediction))
    similarity = similarity_loss_forward(output.similarity, label, similarity_loss).mean(dim=1)
    return SafeLosses(alpha * prediction + beta * similarity, prediction, similarity)


def stacked_backward(
    weights: SafeWeights,
    output: SafeOutput,
    cache: StackedCache,
    label: Tensor,
    alpha: Tensor,
    beta: Tensor,
    similarity_loss: str,
) -> SafeWeights:
    """Compute `safe_backward` for every run: Eqs. (12) and (14)-(18).

    Args:
        weights: the parameters, each with a leading axis of R runs.
        output, cache: the two results of `stacked_forward`.
        label: 1 = fake, 0 = real, (R, B).
        alpha, beta: α and β of each run, (R,).
        similarity_loss: `real_only` or `both_classes`.
    Returns:
        Gradients, in the shapes of the weights.
    """
    runs, batch = label.shape
    mean = 1 / max(batch, 1)
    alpha, beta = alpha[:, None, None], beta[:, None, None]  # (R, 1, 1)

    def through_similarity(loss: str) -> Tensor:
        """Carry the gradient of each run's mean of L_s back to t ⊕ v, (R, B, 2D): Eq. (15)."""
        similarity, similarity_cache = require(output.similarity, "similarity"), require(cache.similarity, "similarity")
        d_similarity = mean * similarity_loss_backward(similarity, label, loss)  # (R, B)
        d_features = similarity_backward(d_similarity.flatten(), similarity_cache)  # (R·B, D) each
        return torch.cat(d_features, dim=1).view(runs, batch, -1)

    d_predictor = None
    if weights.predictor is not None:
        d_logits = mean * prediction_error(output.logits.flatten(0, 1), label.flatten()).view(runs, batch, 2)
        d_prediction = d_logits @ weights.predictor.weight  # (R, B, 2D), Eq. (14)
        d_predictor = PredictorWeights(  # Eq. (12)
            alpha * (d_logits.mT @ cache.features), alpha[:, 0] * d_logits.sum(dim=1)
        )
    else:
        d_prediction = through_similarity("both_classes")
    d_similarity = through_similarity(similarity_loss) if cache.similarity is not None else None
    d_features = combine_feature_gradients(d_prediction, d_similarity, alpha, beta)  # (R, B, 2D), Eq. (18)

    encoders = [name for name in ("text", "visual") if getattr(cache, name) is not None]
    d_encoders = {
        name: _encoder_backward(d, getattr(weights, name), getattr(cache, name))  # Eqs. (16), (17)
        for name, d in zip(encoders, d_features.chunk(len(encoders), dim=2), strict=True)
    }
    return SafeWeights(d_encoders.get("text"), d_encoders.get("visual"), d_predictor)


def _encode(weights: TextCnnWeights, shares: Sequence[Share], name: str) -> tuple[Tensor, StackedEncoderCache]:
    """Compute the features (R, B, D) of one encoder in every run, and its cache; `name` is text or visual."""
    share_pooled, caches = [], []
    for share in shares:
        banks = [FilterBank(bank.weight[share.runs], bank.bias[share.runs]) for bank in weights.filters]  # (C, K, …)
        filters = tuple(FilterBank(bank.weight.flatten(0, 1), bank.bias.flatten()) for bank in banks)  # (C·K, …)
        sentences: Sentences
        sentences, lengths = pad_sentences(share.sentences[name], share.sentences[f"{name}_lengths"], filters)
        if isinstance(sentences, Words):
            words, scores = sentences, _convolve_words(sentences, banks)
        else:
            words, scores = as_table(sentences), convolve(sentences, filters)
        positions, pooled = pool(scores, lengths, filters)  # (B, g·C·K)
        count = len(banks[0].bias)
        pooled = pooled.view(len(pooled), len(filters), count, -1)  # (B, g, C, K)
        share_pooled.append(pooled.permute(2, 0, 1, 3).flatten(2))  # (C, B, g·K)
        caches.append(PooledShare(share.runs, words, positions))
    pooled = torch.cat(share_pooled)  # (R, B, g·K)
    features = _linear(pooled, weights.project_weight, weights.project_bias)  # (R, B, D)
    return features, StackedEncoderCache(caches, pooled)


def _convolve_words(words: Words, filters: Sequence[FilterBank]) -> Iterator[Tensor]:
    """Compute `convolve_words` for C runs that read the same words.

    Each run has a product of its own. In one product for all, which is C times as wide, some libraries sum the terms in
    another order, and a run would differ in its last bits from the same run alone.

    Args:
        words: table (V, E) and word numbers (B, L).
        filters: one bank for each width h, weight (C, K, h, E).
    Returns:
        Scores (B, L - h + 1, C·K) of each width.
    """
    runs, widths = len(filters[0].bias), [bank.weight.shape[2] for bank in filters]
    rows = torch.cat([bank.weight.transpose(1, 2) for bank in filters], dim=1)  # (C, Σh, K, E)
    products = torch.bmm(words.vectors.expand(runs, -1, -1), rows.flatten(1, 2).mT)  # (C, V, Σh·K)
    products = products.view(runs, -1, sum(widths), rows.shape[2]).permute(1, 2, 0, 3)  # (V, Σh, C, K)
    return window_sums(words.tokens, products.reshape(-1, runs * rows.shape[2]), widths)


def _encoder_backward(d_features: Tensor, weights: TextCnnWeights, cache: StackedEncoderCache) -> TextCnnWeights:
    """Compute `text_cnn_backward` for every run, from ∂L/∂t (R, B, D), in the shapes of the weights."""
    d_scores = (d_features @ weights.project_weight) * (cache.pooled > 0)  # (R, B, g·K)
    widths = [bank.weight.shape[2] for bank in weights.filters]
    share_banks = []
    for runs, words, positions in cache.shares:
        count, batch = runs.stop - runs.start, d_scores.shape[1]
        d_share = d_scores[runs].view(count, batch, len(widths), -1).permute(1, 2, 0, 3).flatten(1)  # (B, g·C·K)
        banks = filters_backward(d_share, positions, words, widths)
        share_banks.append([[value.view(count, -1, *value.shape[1:]) for value in bank] for bank in banks])  # (C, K, …)
    d_filters = tuple(
        FilterBank(torch.cat([banks[i][0] for banks in share_banks]), torch.cat([banks[i][1] for banks in share_banks]))
        for i in range(len(widths))
    )
    return TextCnnWeights(d_filters, d_features.mT @ cache.pooled, d_features.sum(dim=1))  # Eq. (16)


def _linear(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute W x + b in every run: (R, B, O) from x (R, B, I), W (R, O, I) and b (R, O)."""
    return torch.baddbmm(bias[:, None], features, weight.mT)
