"""L_p, L_s and L = α L_p + β L_s: forward, and the backward step that starts Eq. (18)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

# s and 1 - s enter the logarithm no smaller than this, which caps L_s at 16.1 for one article. Below it the article
# gives no similarity gradient: there t and v are opposite (or equal) to within rounding, and their difference is noise.
SIMILARITY_FLOOR = 1e-7


class Output(Protocol):
    """Part of `safe_exp.equations.safe.SafeOutput` that the losses read."""

    @property
    def logits(self) -> Tensor:
        """Logits of fake and real, (B, 2)."""

    @property
    def similarity(self) -> Tensor | None:
        """M_s, (B,); None for a variant that compares nothing."""


class SafeLosses(NamedTuple):
    """The batch means of L, L_p and L_s, each ().

    Example:
        >>> import torch
        >>> prediction, similarity = torch.tensor(2.0), torch.tensor(4.0)
        >>> losses = SafeLosses(0.5 * prediction + 0.25 * similarity, prediction, similarity)
        >>> losses.total.item()
        2.0
    """

    total: Tensor  # L = α L_p + β L_s
    prediction: Tensor  # L_p
    similarity: Tensor  # L_s; 0 for a variant that compares nothing


def safe_loss(
    out: Output,
    label: Tensor,
    *,
    alpha: float,
    beta: float,
    similarity_loss: str = "real_only",
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> SafeLosses:
    """Compute L = α L_p + β L_s, averaged over a mini-batch; differentiable by autograd.

    Args:
        out: the network's output; its `logits` (B, 2) and `similarity` (B,) or None are read.
        label: 1 = fake, 0 = real, (B,).
        alpha, beta: α and β, >= 0.
        similarity_loss: `real_only` (the loss whose gradient is the printed Eq. 15) or `both_classes`.
        weight: w, each article's weight in the mean Σ w L / B, (B,); None: all are 1. With mean 1 over the articles
            that are trained on, the mean over a mini-batch is an unbiased estimate of the one over all of them.
        label_smoothing: ε, 0 <= ε < 1: L_p is that of ỹ = y (1 - ε) + ε/2. L_s keeps y.
    Returns:
        L, L_p and L_s, each ().
    Raises:
        ValueError: α or β is negative, the similarity loss is unknown, ε is not in [0, 1), or `label` or `weight` is
            not (B,).
    Example:
        >>> import torch
        >>> from safe_exp.equations import SafeOutput
        >>> half = torch.tensor([0.5, 0.5])
        >>> out = SafeOutput(None, None, logits=torch.zeros(2, 2), probability=half, similarity=half)
        >>> losses = safe_loss(out, torch.tensor([0, 1]), alpha=0.6, beta=0.4)  # L_p = ln 2, L_s = (ln 2 + 0) / 2
        >>> [round(loss.item(), 4) for loss in losses]
        [0.5545, 0.6931, 0.3466]
        >>> losses = safe_loss(out, torch.tensor([0, 1]), alpha=0.6, beta=0.4, weight=torch.tensor([0.5, 1.5]))
        >>> [round(loss.item(), 4) for loss in losses]  # L_s = 0.5 ln 2 / 2
        [0.4852, 0.6931, 0.1733]
    """
    check_loss_settings(alpha, beta, similarity_loss, label_smoothing)
    for name, value in (("label", label), ("weight", weight)):
        if value is not None and value.shape != out.logits.shape[:1]:
            raise ValueError(f"{name} has shape {tuple(value.shape)}; expected ({len(out.logits)},), one per article.")
    prediction = batch_mean(prediction_loss(out.logits, label, label_smoothing), weight)
    if out.similarity is None:
        return SafeLosses(alpha * prediction, prediction, torch.zeros_like(prediction))
    similarity = batch_mean(similarity_loss_forward(out.similarity, label, similarity_loss), weight)
    return SafeLosses(alpha * prediction + beta * similarity, prediction, similarity)


def batch_mean(losses: Tensor, weight: Tensor | None) -> Tensor:
    """Compute Σ w L / B, (), from the losses (B,) and weights (B,) of the articles; without weights their plain mean.

    Example:
        >>> import torch
        >>> batch_mean(torch.tensor([2.0, 4.0]), torch.tensor([1.5, 0.5])).item()
        2.5
    """
    return losses.mean() if weight is None else (weight * losses).mean()


def batch_mean_backward(d_losses: Tensor, weight: Tensor | None) -> Tensor:
    """Scale gradients of the articles' own losses, (B, …), to those of `batch_mean`: by w/B, or 1/B without weights.

    Example:
        >>> import torch
        >>> batch_mean_backward(torch.tensor([[2.0], [4.0]]), torch.tensor([1.5, 0.5])).tolist()
        [[1.5], [1.0]]
    """
    if weight is not None:
        d_losses = weight.view(-1, *[1] * (d_losses.dim() - 1)) * d_losses
    return 1 / max(len(d_losses), 1) * d_losses


def prediction_loss(logits: Tensor, label: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Compute L_p = -[ỹ ln ŷ + (1-ỹ) ln(1-ŷ)] for each article; by log-softmax, so finite for finite logits.

    Args:
        logits: (B, 2), entry 0 = fake.
        label: y, 1 = fake, 0 = real, (B,).
        label_smoothing: ε of ỹ = y (1 - ε) + ε/2; with 0, L_p as printed.
    Returns:
        L_p, (B,), float32 at least.
    Example:
        >>> import torch
        >>> logits = torch.tensor([[4.0, 1.0], [4.0, 1.0]]).log()  # ŷ = 0.8
        >>> [round(loss, 4) for loss in prediction_loss(logits, torch.tensor([1, 0])).tolist()]  # -ln 0.8, -ln 0.2
        [0.2231, 1.6094]
        >>> [round(loss, 4) for loss in prediction_loss(logits, torch.tensor([1, 0]), 0.5).tolist()]  # ỹ = 3/4, 1/4
        [0.5697, 1.2629]
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    target = 1 - label.long()  # entry 0 of the logits stands for fake, y = 1
    return F.cross_entropy(logits, target, reduction="none", label_smoothing=label_smoothing)


def similarity_loss_forward(similarity: Tensor, label: Tensor, similarity_loss: str) -> Tensor:
    """Compute L_s for each article: -(1-y) ln s, and under `both_classes` also -y ln(1-s).

    Args:
        similarity: s, (B,).
        label: y, 1 = fake, 0 = real, (B,).
        similarity_loss: `real_only` or `both_classes`.
    Returns:
        L_s, (B,).
    Example:
        >>> import torch
        >>> similarity, label = torch.tensor([0.5, 0.75]), torch.tensor([0, 1])
        >>> losses = similarity_loss_forward(similarity, label, "both_classes")  # ln 2, ln 4
        >>> [round(loss, 4) for loss in losses.tolist()]
        [0.6931, 1.3863]
    """
    real = (1 - label.to(similarity.dtype)) * similarity.clamp(min=SIMILARITY_FLOOR).log()  # (B,)
    if similarity_loss == "real_only":
        return -real
    return -real - label * (1 - similarity).clamp(min=SIMILARITY_FLOOR).log()


def similarity_loss_backward(similarity: Tensor, label: Tensor, similarity_loss: str) -> Tensor:
    """Compute ∂L_s/∂M_s for each article: -(1-y)/s, and under `both_classes` also y/(1-s); 0 below SIMILARITY_FLOOR.

    Args:
        similarity: s, (B,).
        label: y, 1 = fake, 0 = real, (B,).
        similarity_loss: `real_only` or `both_classes`.
    Returns:
        ∂L_s/∂M_s, (B,).
    Example:
        >>> import torch
        >>> similarity_loss_backward(torch.tensor([0.5, 0.75]), torch.tensor([0, 1]), "both_classes").tolist()
        [-2.0, 4.0]
    """
    d_real = -(1 - label.to(similarity.dtype)) * _guarded_reciprocal(similarity)
    if similarity_loss == "real_only":
        return d_real
    return d_real + label * _guarded_reciprocal(1 - similarity)


def combine_feature_gradients(
    d_prediction: Tensor, d_similarity: Tensor | None, alpha: float | Tensor, beta: float | Tensor
) -> Tensor:
    """Compute B = α ∇L_p + β ∇L_s, Eq. (18).

    Args:
        d_prediction: ∇L_p for t ⊕ v, (B, 2D).
        d_similarity: ∇L_s, of the same shape; None where the variant compares nothing.
        alpha, beta: α and β, or one for each of several runs, (R, 1, 1), the terms then being (R, B, 2D).
    Returns:
        B, in the shape of its terms.
    Example:
        >>> import torch
        >>> d_prediction, d_similarity = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 0.0]])
        >>> combine_feature_gradients(d_prediction, d_similarity, alpha=0.5, beta=0.25).tolist()
        [[1.5, 1.0]]
    """
    if d_similarity is None:
        return alpha * d_prediction
    return alpha * d_prediction + beta * d_similarity


def check_loss_settings(alpha: float, beta: float, similarity_loss: str, label_smoothing: float = 0.0) -> None:
    """Refuse a loss that means nothing.

    Raises:
        ValueError: α or β is negative, the similarity loss is unknown, or ε is not in [0, 1).
    """
    if alpha < 0 or beta < 0:
        raise ValueError(f"alpha={alpha}, beta={beta}: both weights of the loss must be >= 0.")
    if similarity_loss not in ("real_only", "both_classes"):
        raise ValueError(f"similarity_loss={similarity_loss!r}: expected one of real_only, both_classes.")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing={label_smoothing}: expected 0 <= ε < 1.")


def _guarded_reciprocal(x: Tensor) -> Tensor:
    """Compute 1/x, of any shape; 0 where x is below SIMILARITY_FLOOR."""
    return torch.where(x >= SIMILARITY_FLOOR, 1 / x.clamp(min=SIMILARITY_FLOOR), 0)
