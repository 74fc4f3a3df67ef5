"""SAFE as a pair of functions: weights and articles in, features, verdict and similarity out; and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .loss import SIMILARITY_FLOOR, combine_feature_gradients, similarity_loss_backward
from .prediction import PredictorWeights, fake_probability, prediction_backward, prediction_error, prediction_forward
from .similarity import SimilarityCache, similarity_backward, similarity_forward
from .text_cnn import TextCnnCache, TextCnnWeights, text_cnn_backward, text_cnn_forward
from .windows import Words


class SafeWeights(NamedTuple):
    """θ_t, θ_v and θ_p, or the gradient with respect to them. A variant lacks what it does without."""

    text: TextCnnWeights | None  # None in SAFE\\T
    visual: TextCnnWeights | None  # None in SAFE\\V
    predictor: PredictorWeights | None  # None in SAFE\\W; its weight is (2, D) where one encoder is missing


class SafeOutput(NamedTuple):
    text_features: Tensor | None  # (B, D): t
    visual_features: Tensor | None  # (B, D): v
    logits: Tensor  # (B, 2), entry 0 = fake; in SAFE\\W the logarithms of 1 - s and s
    probability: Tensor  # (B,): ŷ, the probability of fake, float32 at least
    similarity: Tensor | None  # (B,): s, float32 at least; None where there is one encoder only


class SafeCache(NamedTuple):
    """What `safe_backward` reads of the forward pass."""

    text: TextCnnCache | None
    visual: TextCnnCache | None
    similarity: SimilarityCache | None
    features: Tensor  # (B, 2D): t ⊕ v, or the one there is
    weights: SafeWeights


def safe_forward(
    weights: SafeWeights,
    text: Tensor | Words | None,
    visual: Tensor | Words | None,
    text_lengths: Tensor | None = None,
    visual_lengths: Tensor | None = None,
) -> tuple[SafeOutput, SafeCache]:
    """Run SAFE, or the variant that `weights` describe, on a batch.

    Args:
        weights: the parameters.
        text, visual: word vectors (B, L, E) and (B, Lv, Ev), or `Words`, their numbers and a table; not read, and
            possibly None, where the variant has no such encoder.
        text_lengths, visual_lengths: (B,), or None for all of L.
    Returns:
        The output, and what `safe_backward` needs.
    Raises:
        ValueError: a shape does not fit the weights; see `text_cnn_forward`.
    """
    t = v = text_cache = visual_cache = similarity = similarity_cache = None
    if weights.text is not None:
        t, text_cache = text_cnn_forward(text, weights.text, text_lengths)  # (B, D)
    if weights.visual is not None:
        v, visual_cache = text_cnn_forward(visual, weights.visual, visual_lengths)  # (B, D)
    features = torch.cat([f for f in (t, v) if f is not None], dim=1)  # (B, 2D): t ⊕ v
    if t is not None and v is not None:
        similarity, similarity_cache = similarity_forward(t, v)  # (B,)
    if weights.predictor is not None:
        logits = prediction_forward(features, weights.predictor)  # (B, 2)
    else:
        # SAFE\W: the similarity is the verdict, ŷ = 1 - s. These logits give it back through the softmax.
        logits = torch.stack([1 - similarity, similarity], dim=1).clamp(min=SIMILARITY_FLOOR).log()  # (B, 2)
    output = SafeOutput(t, v, logits, fake_probability(logits), similarity)
    return output, SafeCache(text_cache, visual_cache, similarity_cache, features, weights)


def safe_backward(
    output: SafeOutput, cache: SafeCache, label: Tensor, *, alpha: float, beta: float, similarity_loss: str
) -> SafeWeights:
    """Gradient of the batch mean of L = α L_p + β L_s with respect to every weight: Eqs. (12) and (14)-(18).

    Args:
        output, cache: what `safe_forward` returned.
        label: 1 = fake, 0 = real, (B,).
        alpha, beta, similarity_loss: as in `safe_loss`.
    Returns:
        Gradients, in the shape and type of the weights.
    """
    weights, dtype = cache.weights, cache.features.dtype
    mean = 1 / max(len(label), 1)  # every article weighs 1/B in the mean

    def through_similarity(loss: str) -> Tensor:
        d_similarity = mean * similarity_loss_backward(output.similarity, label, loss)  # (B,)
        return torch.cat(similarity_backward(d_similarity, cache.similarity), dim=1).to(dtype)  # (B, 2D), Eq. (15)

    d_predictor = None
    if weights.predictor is not None:
        d_logits = (mean * prediction_error(output.logits, label)).to(dtype)  # (B, 2)
        d_prediction, d_predictor = prediction_backward(d_logits, cache.features, weights.predictor)  # Eqs. (14), (12)
        d_predictor = PredictorWeights(alpha * d_predictor.weight, alpha * d_predictor.bias)
    else:
        d_prediction = through_similarity("both_classes")  # SAFE\W: L_p of the verdict 1 - s is that very loss
    d_similarity = through_similarity(similarity_loss) if cache.similarity is not None else None
    d_features = combine_feature_gradients(d_prediction, d_similarity, alpha, beta)  # (B, 2D), Eq. (18) for t ⊕ v

    encoders = [encoder for encoder in (cache.text, cache.visual) if encoder is not None]
    d_encoders = iter(
        text_cnn_backward(d, encoder)  # Eqs. (16), (17)
        for d, encoder in zip(d_features.chunk(len(encoders), dim=1), encoders, strict=True)
    )
    d_text = next(d_encoders) if cache.text is not None else None
    d_visual = next(d_encoders) if cache.visual is not None else None
    return SafeWeights(d_text, d_visual, d_predictor)


def map_tensors(function: Callable[..., Tensor], *structures: Any) -> Any:
    """Apply `function` to the tensors that stand in one place of structures such as `SafeWeights`; None stays None."""
    first = structures[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return function(*structures)
    parts = [map_tensors(function, *parts) for parts in zip(*structures, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)


def name_gradients(gradients: SafeWeights) -> dict[str, Tensor]:
    """The gradients under the names that the parameters have in a state dict."""
    return (
        name_encoder("text_encoder", gradients.text)
        | name_encoder("visual_encoder", gradients.visual)
        | name_predictor(gradients.predictor)
    )


def name_encoder(name: str, weights: TextCnnWeights | None) -> dict[str, Tensor]:
    """The parameters of one Text-CNN, or their gradients, as a state dict names them; of a missing one, none."""
    named = {}
    if weights is not None:
        for i, bank in enumerate(weights.filters):
            named[f"{name}.filters.{i}.weight"] = bank.weight
            named[f"{name}.filters.{i}.bias"] = bank.bias
        named[f"{name}.project.weight"] = weights.project_weight
        named[f"{name}.project.bias"] = weights.project_bias
    return named


def name_predictor(weights: PredictorWeights | None) -> dict[str, Tensor]:
    return {} if weights is None else {"predictor.weight": weights.weight, "predictor.bias": weights.bias}
