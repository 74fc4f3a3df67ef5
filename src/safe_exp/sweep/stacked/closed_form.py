"""The closed form for R runs of one shape at once: a leading axis of runs, and one α and β for each.

Runs that read the same articles, as those of one seed do, are one Text-CNN with as many filters as all of them have, up
to the pooling: the words of the articles meet all filters in one product. A library may sum the terms of so wide a
product in another order than those of one run, which changes last bits. The similarity and the losses belong to an
article: they are computed for R·B articles. Only the linear maps, the projections and W_p, are products for each run.

Seeds with equally many runs are a share: what does not depend on the articles' words is computed once for all of them.
At K = 1 that is most of a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from safe_exp.equations.dropout import DropoutMasks, apply_mask
from safe_exp.equations.loss import (
    SIMILARITY_FLOOR,
    SafeLosses,
    combine_feature_gradients,
    prediction_loss,
    similarity_loss_backward,
    similarity_loss_forward,
)
from safe_exp.equations.prediction import PredictorWeights, prediction_error, smooth_labels
from safe_exp.equations.safe import SafeOutput, SafeWeights, require
from safe_exp.equations.similarity import SimilarityCache, similarity_backward, similarity_forward
from safe_exp.equations.text_cnn import TextCnnWeights, filters_backward
from safe_exp.equations.windows import (
    FilterBank,
    Words,
)
from safe_exp.sweep.stacked.windows import best_windows_of_runs


class Share(NamedTuple):
    """The mini-batches of S seeds with C runs each, which stand side by side in the stack.

    The B articles of each seed follow those of the one before. All shares of a step have the same B.
    """

    runs: slice  # S·C
    sentences: Mapping[str, Any]  # text, visual, text_lengths and visual_lengths, as `safe_forward` takes them: S·B
    label: Tensor  # (S·B,), 1 = fake
    weight: Tensor | None = None  # (S·B,), of each article in the loss; all shares of a step have weights, or none has
    masks: DropoutMasks | None = None  # of S·B articles: the runs of a seed draw the same ones
    seeds: int = 1  # S

    def for_runs(self, values: Tensor) -> Tensor:
        """Repeat values of the articles (S·B, …) for each run: (S·C, B, …)."""
        of_seeds = values.view(self.seeds, 1, -1, *values.shape[1:])  # (S, 1, B, …)
        count = (self.runs.stop - self.runs.start) // self.seeds  # C
        return of_seeds.expand(-1, count, *of_seeds.shape[2:]).flatten(0, 1)


class PooledShare(NamedTuple):
    """One share's part of an encoder's cache."""

    runs: slice  # S·C
    words: Words  # of S·B sentences
    positions: tuple[Tensor, ...]  # î, (B, S·C·K) for each width, counted from the seed's first sentence of all S


class StackedEncoderCache(NamedTuple):
    """Values of one encoder's forward pass that the backward pass reads."""

    shares: list[PooledShare]
    pooled: Tensor  # ĉ, (R, B, g·K), times the mask if there is one
    mask: Tensor | None  # (R, B, g·K): dropout of ĉ


class LossTerms(NamedTuple):
    """The settings of the loss of R runs."""

    alpha: Tensor  # α of each run, (R,)
    beta: Tensor  # β of each run, (R,)
    similarity_loss: str  # real_only or both_classes
    label_smoothing: float  # ε
    weight: Tensor | None  # w of each article, (R, B); None: all are 1


class StackedCache(NamedTuple):
    """Values of the forward pass that `stacked_backward` reads."""

    text: StackedEncoderCache | None
    visual: StackedEncoderCache | None
    similarity: SimilarityCache | None  # of R·B articles
    features: Tensor  # t ⊕ v, (R, B, 2D), times the mask if there is one
    mask: Tensor | None  # (R, B, 2D): dropout of t ⊕ v as M_p reads it


@torch.no_grad()
def stacked_step(
    weights: SafeWeights,
    shares: Sequence[Share],
    *,
    alpha: Tensor,
    beta: Tensor,
    similarity_loss: str = "real_only",
    label_smoothing: float = 0.0,
) -> tuple[SafeOutput, SafeLosses, SafeWeights]:
    """Compute `closed_form_step` for every run.

    Args:
        weights: the parameters, in the shapes of `SafeWeights` behind a leading axis of R runs.
        shares: the mini-batch of each run; together they cover the runs in their order.
        alpha, beta: α and β of each run, (R,).
        similarity_loss, label_smoothing: as in `safe_loss`, the same for all.
    Returns:
        Outputs (R, B, …), batch-mean losses (R,) and their exact gradients, in the shapes of the weights.
    Raises:
        ValueError: a variant without predictor lacks an encoder.
    """
    output, cache = stacked_forward(weights, shares)
    label = torch.cat([share.for_runs(share.label) for share in shares])  # (R, B)
    weight = _join_runs(shares, [share.weight for share in shares])  # (R, B)
    settings = LossTerms(alpha, beta, similarity_loss, label_smoothing, weight)
    losses = stacked_loss(output, label, settings)
    return output, losses, stacked_backward(weights, output, cache, label, settings)


@torch.no_grad()
def stacked_forward(weights: SafeWeights, shares: Sequence[Share]) -> tuple[SafeOutput, StackedCache]:
    """Compute `safe_forward` for every run: t, v (R, B, D), logits (R, B, 2), ŷ and s (R, B); arguments as above."""
    t = v = text_cache = visual_cache = similarity = similarity_cache = None
    if weights.text is not None:
        t, text_cache = _encode(weights.text, shares, "text")  # (R, B, D)
    if weights.visual is not None:
        v, visual_cache = _encode(weights.visual, shares, "visual")  # (R, B, D)
    features = torch.cat([f for f in (t, v) if f is not None], dim=2)  # (R, B, 2D): t ⊕ v
    mask = _join_runs(shares, [share.masks.features if share.masks is not None else None for share in shares])
    if t is not None and v is not None:
        similarity, similarity_cache = similarity_forward(t.flatten(0, 1), v.flatten(0, 1))  # (R·B,)
        similarity = similarity.view(t.shape[:2])  # (R, B)
    if weights.predictor is not None:
        features = apply_mask(features, mask)
        logits = _linear(features, *weights.predictor)  # (R, B, 2)
    else:  # SAFE\W, as in safe_forward
        similarity = require(similarity, "similarity")
        logits = torch.stack([1 - similarity, similarity], dim=2).clamp(min=SIMILARITY_FLOOR).log()
    probability = logits.softmax(dim=2)[..., 0]  # (R, B)
    return (
        SafeOutput(t, v, logits, probability, similarity),
        StackedCache(text_cache, visual_cache, similarity_cache, features, mask),
    )


def stacked_loss(output: SafeOutput, label: Tensor, settings: LossTerms) -> SafeLosses:
    """Compute `safe_loss` for every run, each (R,), from label (R, B)."""
    alpha, beta, similarity_loss, label_smoothing, weight = settings
    of_articles = prediction_loss(output.logits.flatten(0, 1), label.flatten(), label_smoothing)  # (R·B,)
    prediction = _weigh(of_articles.view(label.shape), weight).mean(dim=1)
    if output.similarity is None:
        return SafeLosses(alpha * prediction, prediction, torch.zeros_like(prediction))
    of_articles = similarity_loss_forward(output.similarity, label, similarity_loss)  # (R, B)
    similarity = _weigh(of_articles, weight).mean(dim=1)
    return SafeLosses(alpha * prediction + beta * similarity, prediction, similarity)


def stacked_backward(
    weights: SafeWeights, output: SafeOutput, cache: StackedCache, label: Tensor, settings: LossTerms
) -> SafeWeights:
    """Compute `safe_backward` for every run: Eqs. (12) and (14)-(18).

    Args:
        weights: the parameters, each with a leading axis of R runs.
        output, cache: the two results of `stacked_forward`.
        label: 1 = fake, 0 = real, (R, B).
        settings: of the loss.
    Returns:
        Gradients, in the shapes of the weights.
    """
    runs, batch = label.shape
    mean = 1 / max(batch, 1)
    alpha, beta = settings.alpha[:, None, None], settings.beta[:, None, None]  # (R, 1, 1)
    epsilon, weight = settings.label_smoothing, settings.weight

    def through_similarity(loss: str, target: Tensor) -> Tensor:
        """Carry the gradient of each run's mean of L_s, for y or ỹ (R, B), back to t ⊕ v, (R, B, 2D): Eq. (15)."""
        similarity, similarity_cache = require(output.similarity, "similarity"), require(cache.similarity, "similarity")
        d_similarity = mean * _weigh(similarity_loss_backward(similarity, target, loss), weight)  # (R, B)
        d_features = similarity_backward(d_similarity.flatten(), similarity_cache)  # (R·B, D) each
        return torch.cat(d_features, dim=1).view(runs, batch, -1)

    d_predictor = None
    if weights.predictor is not None:
        error = prediction_error(output.logits.flatten(0, 1), label.flatten(), epsilon).view(runs, batch, 2)
        d_logits = mean * _weigh(error, weight)  # (R, B, 2)
        d_prediction = apply_mask(d_logits @ weights.predictor.weight, cache.mask)  # (R, B, 2D), Eq. (14)
        d_predictor = PredictorWeights(  # Eq. (12)
            alpha * (d_logits.mT @ cache.features), alpha[:, 0] * d_logits.sum(dim=1)
        )
    else:
        d_prediction = through_similarity("both_classes", smooth_labels(label, epsilon, output.probability.dtype))
    d_similarity = through_similarity(settings.similarity_loss, label) if cache.similarity is not None else None
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
        banks = [FilterBank(bank.weight[share.runs], bank.bias[share.runs]) for bank in weights.filters]  # (S·C, K, …)
        sentences, lengths = share.sentences[name], share.sentences[f"{name}_lengths"]
        words, positions, values = best_windows_of_runs(sentences, lengths, banks, share.seeds)
        shape = (share.seeds, -1, len(banks[0].bias) // share.seeds, banks[0].bias.shape[1])  # S, B, C, K
        of_runs = [v.view(shape) + bank.bias.view(shape) for v, bank in zip(values, banks, strict=True)]
        pooled = torch.stack(of_runs, dim=3).relu()  # (S, B, C, g, K)
        share_pooled.append(pooled.transpose(1, 2).flatten(0, 1).flatten(2))  # (S·C, B, g·K)
        caches.append(PooledShare(share.runs, words, positions))
    pooled = torch.cat(share_pooled)  # (R, B, g·K)
    number = 0 if name == "text" else -1  # of the encoder, as in safe_forward
    of_shares = [share.masks.pooled if share.masks is not None else () for share in shares]
    mask = _join_runs(shares, [masks[number] if masks else None for masks in of_shares])  # (R, B, g·K)
    pooled = apply_mask(pooled, mask)
    features = _linear(pooled, weights.project_weight, weights.project_bias)  # (R, B, D)
    return features, StackedEncoderCache(caches, pooled, mask)


def _encoder_backward(d_features: Tensor, weights: TextCnnWeights, cache: StackedEncoderCache) -> TextCnnWeights:
    """Compute `text_cnn_backward` for every run, from ∂L/∂t (R, B, D), in the shapes of the weights."""
    d_scores = (d_features @ weights.project_weight) * (cache.pooled > 0)  # (R, B, g·K)
    d_scores = apply_mask(d_scores, cache.mask)
    widths = [bank.weight.shape[2] for bank in weights.filters]
    share_banks = []
    for runs, words, positions in cache.shares:
        count, batch = runs.stop - runs.start, d_scores.shape[1]
        d_share = d_scores[runs].view(count, batch, len(widths), -1).permute(1, 2, 0, 3).flatten(1)  # (B, g·S·C·K)
        banks = filters_backward(d_share, positions, words, widths)
        share_banks.append([[value.unflatten(0, (count, -1)) for value in bank] for bank in banks])  # (S·C, K, …)
    d_filters = tuple(
        FilterBank(torch.cat([banks[i][0] for banks in share_banks]), torch.cat([banks[i][1] for banks in share_banks]))
        for i in range(len(widths))
    )
    return TextCnnWeights(d_filters, d_features.mT @ cache.pooled, d_features.sum(dim=1))  # Eq. (16)


def _join_runs(shares: Sequence[Share], values: Sequence[Tensor | None]) -> Tensor | None:
    """Join the tensors (S·B, …) of the shares, each for the runs that it belongs to, to (R, B, …); None stays None."""
    joined = [share.for_runs(v) for share, v in zip(shares, values, strict=True) if v is not None]
    return torch.cat(joined) if joined else None


def _weigh(values: Tensor, weight: Tensor | None) -> Tensor:
    """Multiply values (R, B, …) by the weights of the articles (R, B), if there are any."""
    return values if weight is None else weight.view(*weight.shape, *[1] * (values.dim() - 2)) * values


def _linear(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute W x + b in every run: (R, B, O) from x (R, B, I), W (R, O, I) and b (R, O)."""
    return torch.baddbmm(bias[:, None], features, weight.mT)
