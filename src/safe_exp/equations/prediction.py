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
    """Compute the logits W_p (t ⊕ v) + b_p, (B, 2), from t ⊕ v (B, 2D); entry 0 stands for fake.

    Example:
        >>> import torch
        >>> weights = PredictorWeights(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0.5, 0.0]))
        >>> prediction_forward(torch.tensor([[1.0, 2.0]]), weights).tolist()
        [[1.5, 2.0]]
    """
    return F.linear(features, weights.weight, weights.bias)  # (B, 2)


def fake_probability(logits: Tensor) -> Tensor:
    """Compute ŷ = softmax(logits)[0], the probability of fake, (B,), from logits (B, 2); in float32 at least.

    Example:
        >>> import torch
        >>> y_hat = fake_probability(torch.tensor([[1.0, 1.0], [4.0, 1.0]]).log())  # 1 : 1 and 4 : 1
        >>> [round(y, 4) for y in y_hat.tolist()]
        [0.5, 0.8]
    """
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=1)[:, 0]


def smooth_labels(label: Tensor, label_smoothing: float, dtype: torch.dtype) -> Tensor:
    """Compute ỹ = y (1 - ε) + ε/2, (B,), from y (B,); y itself where ε is 0.

    Example:
        >>> import torch
        >>> smooth_labels(torch.tensor([1, 0]), 0.5, torch.float32).tolist()
        [0.75, 0.25]
    """
    return label.to(dtype) * (1 - label_smoothing) + label_smoothing / 2 if label_smoothing else label


def prediction_error(logits: Tensor, label: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Compute Δy = [ŷ - ỹ, ỹ - ŷ] of Eq. (12), the gradient of L_p with respect to the logits.

    Both entries come from the same softmax, in float32 at least, so saturated logits give exactly 0 or ±1.

    Args:
        logits: (B, 2).
        label: y, 1 = fake, 0 = real, (B,).
        label_smoothing: ε of ỹ = y (1 - ε) + ε/2; with 0, Δy as printed.
    Returns:
        Δy, (B, 2).
    Example:
        >>> import torch
        >>> prediction_error(torch.zeros(2, 2), torch.tensor([1, 0])).tolist()  # ŷ = 1/2
        [[-0.5, 0.5], [0.5, -0.5]]
        >>> prediction_error(torch.zeros(1, 2), torch.tensor([1]), label_smoothing=0.5).tolist()  # ỹ = 3/4
        [[-0.25, 0.25]]
    """
    probability = fake_probability(logits)  # (B,)
    error = probability - smooth_labels(label, label_smoothing, probability.dtype)  # (B,): ŷ - ỹ
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
    Example:
        >>> import torch
        >>> weights = PredictorWeights(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2))
        >>> d_logits, features = torch.tensor([[-0.5, 0.5]]), torch.tensor([[1.0, 3.0]])
        >>> d_features, d_weights = prediction_backward(d_logits, features, weights)
        >>> d_features.tolist()  # -0.5 · [1, 0] + 0.5 · [0, 2]
        [[-0.5, 1.0]]
        >>> d_weights.weight.tolist(), d_weights.bias.tolist()
        ([[-0.5, -1.5], [0.5, 1.5]], [-0.5, 0.5])
    """
    return d_logits @ weights.weight, PredictorWeights(d_logits.T @ features, d_logits.sum(dim=0))
