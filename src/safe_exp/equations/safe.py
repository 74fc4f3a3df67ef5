"""SAFE as a pair of functions: `safe_forward` from weights and articles to the verdict, `safe_backward` back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from .dropout import DropoutMasks, apply_mask
from .loss import SIMILARITY_FLOOR, batch_mean_backward, combine_feature_gradients, similarity_loss_backward
from .prediction import (
    PredictorWeights,
    fake_probability,
    prediction_backward,
    prediction_error,
    prediction_forward,
    smooth_labels,
)
from .similarity import SimilarityCache, similarity_backward, similarity_forward
from .text_cnn import TextCnnCache, TextCnnWeights, text_cnn_backward, text_cnn_forward
from .windows import Sentences

Structure = TypeVar("Structure")
Value = TypeVar("Value")


class SafeWeights(NamedTuple):
    """θ_t, θ_v and θ_p, or the gradient with respect to them; None for a part that a variant does without.

    Example:
        >>> import torch
        >>> predictor = PredictorWeights(weight=torch.zeros(2, 4), bias=torch.zeros(2))
        >>> weights = SafeWeights(text=None, visual=None, predictor=predictor)
        >>> list(name_gradients(weights))
        ['predictor.weight', 'predictor.bias']
    """

    text: TextCnnWeights | None  # None in SAFE\\T
    visual: TextCnnWeights | None  # None in SAFE\\V
    predictor: PredictorWeights | None  # None in SAFE\\W; its weight is (2, D) where one encoder is missing


class SafeOutput(NamedTuple):
    """Features, verdict and similarity of B articles.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 0.0]])
        >>> output = SafeOutput(None, None, logits, probability=fake_probability(logits), similarity=None)
        >>> output.probability.tolist()
        [0.5]
    """

    text_features: Tensor | None  # (B, D): t
    visual_features: Tensor | None  # (B, D): v
    logits: Tensor  # (B, 2), entry 0 = fake; in SAFE\\W the logarithms of 1 - s and s
    probability: Tensor  # (B,): ŷ, the probability of fake, float32 at least
    similarity: Tensor | None  # (B,): s, float32 at least; None where there is one encoder only


class SafeCache(NamedTuple):
    """Values of the forward pass that `safe_backward` reads."""

    text: TextCnnCache | None
    visual: TextCnnCache | None
    similarity: SimilarityCache | None
    features: Tensor  # (B, 2D): t ⊕ v, or the one there is, times the mask if there is one
    weights: SafeWeights
    mask: Tensor | None = None  # (B, 2D): dropout of t ⊕ v as M_p reads it


def safe_forward(
    weights: SafeWeights,
    text: Sentences | None,
    visual: Sentences | None,
    text_lengths: Tensor | None = None,
    visual_lengths: Tensor | None = None,
    masks: DropoutMasks | None = None,
) -> tuple[SafeOutput, SafeCache]:
    """Run SAFE, or the variant that `weights` describe, on a batch.

    Args:
        weights: the parameters.
        text, visual: word vectors (B, L, E) and (B, Lv, Ev), or `Words`, their numbers and a table; not read, and
            possibly None, where the variant has no such encoder.
        text_lengths, visual_lengths: words in each article (B,), or None for all of L.
        masks: of this step's dropout; None: it is off. M_s compares t and v as they are.
    Returns:
        The output, and the cache that `safe_backward` reads.
    Raises:
        ValueError: a shape does not fit the weights, as in `text_cnn_forward`, or sentences that an encoder reads are
            None.
    Example:
        >>> import torch
        >>> from safe_exp.equations.windows import FilterBank
        >>> bank = FilterBank(torch.ones(1, 1, 1), torch.zeros(1))  # one filter, which takes the word as it is
        >>> text = TextCnnWeights((bank,), torch.tensor([[3.0], [4.0]]), torch.zeros(2))
        >>> visual = TextCnnWeights((bank,), torch.tensor([[4.0], [3.0]]), torch.zeros(2))
        >>> weights = SafeWeights(text, visual, PredictorWeights(torch.zeros(2, 4), torch.zeros(2)))
        >>> output, _ = safe_forward(weights, torch.ones(1, 1, 1), torch.ones(1, 1, 1))
        >>> output.text_features.tolist(), output.visual_features.tolist(), output.probability.tolist()
        ([[3.0, 4.0]], [[4.0, 3.0]], [0.5])
        >>> print(f"{output.similarity.item():.2f}")  # (1 + 24/25) / 2
        0.98
    """
    similarity = similarity_cache = None
    pooled, mask = (masks.pooled, masks.features) if masks is not None else ((), None)
    text_mask, visual_mask = (pooled[0], pooled[-1]) if pooled else (None, None)  # one encoder reads the only one
    t, text_cache = _encode("text", text, weights.text, text_lengths, text_mask)  # (B, D)
    v, visual_cache = _encode("visual", visual, weights.visual, visual_lengths, visual_mask)  # (B, D)
    features = torch.cat([f for f in (t, v) if f is not None], dim=1)  # (B, 2D): t ⊕ v
    if t is not None and v is not None:
        similarity, similarity_cache = similarity_forward(t, v)  # (B,)
    if weights.predictor is not None:
        features = apply_mask(features, mask)
        logits = prediction_forward(features, weights.predictor)  # (B, 2)
    else:
        # SAFE\W: the similarity is the verdict, ŷ = 1 - s. These logits give it back through the softmax.
        similarity = require(similarity, "similarity")
        logits = torch.stack([1 - similarity, similarity], dim=1).clamp(min=SIMILARITY_FLOOR).log()  # (B, 2)
    output = SafeOutput(t, v, logits, fake_probability(logits), similarity)
    return output, SafeCache(text_cache, visual_cache, similarity_cache, features, weights, mask)


def safe_backward(
    output: SafeOutput,
    cache: SafeCache,
    label: Tensor,
    *,
    alpha: float,
    beta: float,
    similarity_loss: str,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> SafeWeights:
    """Compute the gradient of the batch mean of L = α L_p + β L_s for every weight: Eqs. (12) and (14)-(18).

    Args:
        output, cache: the two results of `safe_forward`.
        label: 1 = fake, 0 = real, (B,).
        alpha, beta, similarity_loss, weight, label_smoothing: as in `safe_loss`.
    Returns:
        Gradients, in the shape and type of the weights.
    Example:
        >>> import torch
        >>> from safe_exp.equations.windows import FilterBank
        >>> bank = FilterBank(torch.ones(1, 1, 1), torch.zeros(1))
        >>> text = TextCnnWeights((bank,), torch.tensor([[3.0], [4.0]]), torch.zeros(2))
        >>> weights = SafeWeights(text, None, PredictorWeights(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), -torch.ones(2)))
        >>> weights.predictor.bias[0] = -4.0  # t = [3, 4], so both logits are -1
        >>> output, cache = safe_forward(weights, torch.ones(1, 1, 1), None)
        >>> label = torch.tensor([1])
        >>> gradients = safe_backward(output, cache, label, alpha=1.0, beta=0.0, similarity_loss="real_only")
        >>> gradients.predictor.weight.tolist()  # Eq. (12): Δy = [-1/2, 1/2], times t
        [[-1.5, -2.0], [1.5, 2.0]]
        >>> gradients.text.project_weight.tolist()  # Eq. (16): B = W_pᵀ Δy = [-1/2, 0], times ĉ = 1
        [[-0.5], [0.0]]
    """
    weights, dtype = cache.weights, cache.features.dtype

    def through_similarity(loss: str, target: Tensor) -> Tensor:
        """Carry the gradient of the mean of L_s, for y or ỹ (B,), back to t ⊕ v, (B, 2D): Eq. (15)."""
        similarity, similarity_cache = require(output.similarity, "similarity"), require(cache.similarity, "similarity")
        d_similarity = batch_mean_backward(similarity_loss_backward(similarity, target, loss), weight)  # (B,)
        return torch.cat(similarity_backward(d_similarity, similarity_cache), dim=1).to(dtype)

    d_predictor = None
    if weights.predictor is not None:
        error = prediction_error(output.logits, label, label_smoothing)  # (B, 2)
        d_logits = batch_mean_backward(error, weight).to(dtype)  # (B, 2)
        d_prediction, d_predictor = prediction_backward(d_logits, cache.features, weights.predictor)  # Eqs. (14), (12)
        d_prediction = apply_mask(d_prediction, cache.mask)  # (B, 2D)
        d_predictor = PredictorWeights(alpha * d_predictor.weight, alpha * d_predictor.bias)
    else:
        # SAFE\W: L_p of the verdict 1 - s is that very loss, for ỹ where labels are smoothed.
        target = smooth_labels(label, label_smoothing, output.probability.dtype)  # (B,)
        d_prediction = through_similarity("both_classes", target)
    d_similarity = through_similarity(similarity_loss, label) if cache.similarity is not None else None
    d_features = combine_feature_gradients(d_prediction, d_similarity, alpha, beta)  # (B, 2D), Eq. (18) for t ⊕ v

    encoders = [encoder for encoder in (cache.text, cache.visual) if encoder is not None]
    d_encoders = iter(
        text_cnn_backward(d, encoder)  # Eqs. (16), (17)
        for d, encoder in zip(d_features.chunk(len(encoders), dim=1), encoders, strict=True)
    )
    d_text = next(d_encoders) if cache.text is not None else None
    d_visual = next(d_encoders) if cache.visual is not None else None
    return SafeWeights(d_text, d_visual, d_predictor)


def _encode(
    name: str,
    sentences: Sentences | None,
    weights: TextCnnWeights | None,
    lengths: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, TextCnnCache] | tuple[None, None]:
    """Run one encoder as `text_cnn_forward` does: features (B, D), and the cache; None where the variant has none."""
    if weights is None:
        return None, None
    if sentences is None:
        raise ValueError(f"{name} is None; this network reads it.")
    return text_cnn_forward(sentences, weights, lengths, mask)


def require(value: Value | None, name: str) -> Value:
    """Return a value that the network's weights call for.

    Raises:
        ValueError: it is None.
    """
    if value is None:
        raise ValueError(f"{name} is None; this network reads it.")
    return value


def map_tensors(function: Callable[..., Any], *structures: Structure) -> Structure:
    """Apply `function` to the tensors that stand in one place of structures such as `SafeWeights`.

    Args:
        function: takes one tensor of each structure, and returns a tensor, of any shape.
        structures: one or more of the same form.
    Returns:
        The results in the same form; None stays None.
    Example:
        >>> import torch
        >>> map_tensors(torch.neg, PredictorWeights(torch.ones(2, 1), torch.zeros(2))).weight.tolist()
        [[-1.0], [-1.0]]
    """
    mapped = structures[0]
    if isinstance(mapped, Tensor):
        mapped = function(*structures)
    elif mapped is not None:
        tuples: Any = structures
        kind: Any = type(mapped)
        parts = [map_tensors(function, *place) for place in zip(*tuples, strict=True)]
        mapped = kind(*parts) if hasattr(kind, "_fields") else kind(parts)
    return mapped


def name_gradients(gradients: SafeWeights) -> dict[str, Tensor]:
    """Name gradients as a state dict names the parameters, each in its parameter's shape."""
    return (
        name_encoder("text_encoder", gradients.text)
        | name_encoder("visual_encoder", gradients.visual)
        | name_predictor(gradients.predictor)
    )


def name_encoder(name: str, weights: TextCnnWeights | None) -> dict[str, Tensor]:
    """Name the parameters of one Text-CNN, or their gradients, as a state dict does; a missing one has none.

    Returns:
        For each width i `filters.<i>.weight` (K, h, E) and `.bias` (K,), then `project.weight` (D, g·K) and `.bias`
        (D,), with `name` and a dot before each.
    """
    named = {}
    if weights is not None:
        for i, bank in enumerate(weights.filters):
            named[f"{name}.filters.{i}.weight"] = bank.weight
            named[f"{name}.filters.{i}.bias"] = bank.bias
        named[f"{name}.project.weight"] = weights.project_weight
        named[f"{name}.project.bias"] = weights.project_bias
    return named


def name_predictor(weights: PredictorWeights | None) -> dict[str, Tensor]:
    """Name θ_p or its gradient as a state dict does: `predictor.weight` (2, 2D) and `predictor.bias` (2,)."""
    return {} if weights is None else {"predictor.weight": weights.weight, "predictor.bias": weights.bias}
