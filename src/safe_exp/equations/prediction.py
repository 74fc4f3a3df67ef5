"""M_p, the prediction from both feature vectors: forward, and backward by Eqs. (12) and (14)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class PredictorWeights(NamedTuple):
    """θ_p, or the gradient with respect to it."""

    weight: Tensor  # (2, 2D); the first D columns read t, the last D read v; row 0 stands for fake
    bias: Tensor  # (2,)


def prediction_forward(features: Tensor, weights: PredictorWeights) -> Tensor:
    """Logits W_p (t ⊕ v) + b_p, (B, 2), from t ⊕ v (B, 2D); entry 0 stands for fake."""
    return F.linear(features, weights.weight, weights.bias)  # (B, 2)


def fake_probability(logits: Tensor) -> Tensor:
    """ŷ = softmax(logits)[0], the probability of fake, (B,), in float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=1)[:, 0]


def prediction_error(logits: Tensor, label: Tensor) -> Tensor:
    """Δy = [ŷ - y, y - ŷ] of Eq. (12), (B, 2): the gradient of L_p with respect to the logits.

    Both entries come from the same softmax, in float32 at least, so saturated logits give exactly 0 or ±1.
    """
    error = fake_probability(logits) - label  # (B,): ŷ - y
    return torch.stack([error, -error], dim=1)  # (B, 2)


def prediction_backward(
    d_logits: Tensor, features: Tensor, weights: PredictorWeights
) -> tuple[Tensor, PredictorWeights]:
    """Carry Δy back to the features, Eq. (14), and to θ_p, Eq. (12), the latter summed over the batch.

    Args:
        d_logits: Δy, or Δy times the article's weight in the loss, (B, 2).
        features: t ⊕ v, (B, 2D).
        weights: θ_p.
    Returns:
        W_pᵀ Δy (B, 2D), whose first D columns are ∇L_p(t) = W_{p,L}ᵀ Δy and whose last D are ∇L_p(v);
        and the gradients Δy (t ⊕ v)ᵀ (2, 2D) and Δy (2,) of θ_p.
    """
    return d_logits @ weights.weight, PredictorWeights(d_logits.T @ features, d_logits.sum(dim=0))
