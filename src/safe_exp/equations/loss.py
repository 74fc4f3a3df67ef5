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
    """What the losses read of `safe_exp.equations.safe.SafeOutput`."""

    logits: Tensor  # (B, 2)
    similarity: Tensor | None  # (B,)


class SafeLosses(NamedTuple):
    """Batch means, each ()."""

    total: Tensor  # L = α L_p + β L_s
    prediction: Tensor  # L_p
    similarity: Tensor  # L_s; 0 for a variant that compares nothing


def safe_loss(
    out: Output, label: Tensor, *, alpha: float, beta: float, similarity_loss: str = "real_only"
) -> SafeLosses:
    """L = α L_p + β L_s, averaged over a mini-batch; differentiable by autograd.

    Args:
        out: the network's output; its `logits` (B, 2) and `similarity` (B,) or None are read.
        label: 1 = fake, 0 = real, (B,).
        alpha, beta: α and β, >= 0.
        similarity_loss: `real_only` (the loss whose gradient is the printed Eq. 15) or `both_classes`.
    Raises:
        ValueError: α or β is negative, the similarity loss is unknown, or `label` is not (B,).
    """
    check_loss_settings(alpha, beta, similarity_loss)
    if label.shape != out.logits.shape[:1]:
        raise ValueError(f"label has shape {tuple(label.shape)}; expected ({len(out.logits)},), one per article.")
    prediction = prediction_loss(out.logits, label).mean()
    if out.similarity is None:
        return SafeLosses(alpha * prediction, prediction, torch.zeros_like(prediction))
    similarity = similarity_loss_forward(out.similarity, label, similarity_loss).mean()
    return SafeLosses(alpha * prediction + beta * similarity, prediction, similarity)


def prediction_loss(logits: Tensor, label: Tensor) -> Tensor:
    """L_p = -[y ln ŷ + (1-y) ln(1-ŷ)] for each article, (B,); by log-softmax, finite for finite logits (B, 2)."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits, 1 - label.long(), reduction="none")  # entry 0 of the logits stands for fake, y = 1


def similarity_loss_forward(similarity: Tensor, label: Tensor, similarity_loss: str) -> Tensor:
    """L_s for each article, (B,): -(1-y) ln s, and under `both_classes` also -y ln(1-s)."""
    real = (1 - label.to(similarity.dtype)) * similarity.clamp(min=SIMILARITY_FLOOR).log()  # (B,)
    if similarity_loss == "real_only":
        return -real
    return -real - label * (1 - similarity).clamp(min=SIMILARITY_FLOOR).log()


def similarity_loss_backward(similarity: Tensor, label: Tensor, similarity_loss: str) -> Tensor:
    """∂L_s/∂M_s for each article, (B,): -(1-y)/s, and under `both_classes` also y/(1-s); 0 below SIMILARITY_FLOOR."""
    d_real = -(1 - label.to(similarity.dtype)) * _guarded_reciprocal(similarity)
    if similarity_loss == "real_only":
        return d_real
    return d_real + label * _guarded_reciprocal(1 - similarity)


def combine_feature_gradients(d_prediction: Tensor, d_similarity: Tensor | None, alpha: float, beta: float) -> Tensor:
    """B = α ∇L_p + β ∇L_s, Eq. (18), in the shape of its terms. None: the variant compares nothing."""
    if d_similarity is None:
        return alpha * d_prediction
    return alpha * d_prediction + beta * d_similarity


def check_loss_settings(alpha: float, beta: float, similarity_loss: str) -> None:
    """Refuse what would give a loss that means nothing; see `safe_loss`."""
    if alpha < 0 or beta < 0:
        raise ValueError(f"alpha={alpha}, beta={beta}: both weights of the loss must be >= 0.")
    if similarity_loss not in ("real_only", "both_classes"):
        raise ValueError(f"similarity_loss={similarity_loss!r}: expected one of real_only, both_classes.")


def _guarded_reciprocal(x: Tensor) -> Tensor:
    return torch.where(x >= SIMILARITY_FLOOR, 1 / x.clamp(min=SIMILARITY_FLOOR), 0)
