"""M_s, the similarity of text and image: forward, and backward to both feature vectors by Eq. (15)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# A feature vector shorter than this has no direction: its cosine with anything is taken as 0 (s = 1/2), and no gradient
# of the similarity flows into it. Eq. (15) divides by ‖t‖; the guard bounds that factor by 1e8.
NORM_FLOOR = 1e-8


class SimilarityCache(NamedTuple):
    """Values of the forward pass that `similarity_backward` reads."""

    text_unit: Tensor  # (B, D): t₀ = t/‖t‖, or 0
    visual_unit: Tensor  # (B, D): v₀
    text_norm: Tensor  # (B, 1): ‖t‖, or infinity where it is below NORM_FLOOR
    visual_norm: Tensor  # (B, 1)
    cosine: Tensor  # (B,): t₀ · v₀ = 2s - 1


def similarity_forward(text_features: Tensor, visual_features: Tensor) -> tuple[Tensor, SimilarityCache]:
    """Compute M_s = (1 + cos(t, v)) / 2, in [0, 1] for each article.

    Computed in float32 at least: bfloat16 has steps of 1/256 near 1, too coarse for the logarithm that follows.

    Args:
        text_features: t, (B, D).
        visual_features: v, (B, D).
    Returns:
        Similarity (B,), and what `similarity_backward` needs.
    Raises:
        ValueError: the two shapes differ.
    Example:
        >>> import torch
        >>> similarity, _ = similarity_forward(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]]))
        >>> print(f"{similarity.item():.2f}")  # cos = 24 / (5 · 5) = 0.96
        0.98
    """
    if text_features.shape != visual_features.shape:
        raise ValueError(
            f"text features have shape {tuple(text_features.shape)}, visual features {tuple(visual_features.shape)}; "
            "expected the same (B, D)."
        )
    text_unit, text_norm = unit_vectors(text_features)
    visual_unit, visual_norm = unit_vectors(visual_features)
    cosine = (text_unit * visual_unit).sum(dim=-1).clamp(-1, 1)  # (B,); rounding can leave [-1, 1] by an ulp
    return (1 + cosine) / 2, SimilarityCache(text_unit, visual_unit, text_norm, visual_norm, cosine)


def similarity_backward(d_similarity: Tensor, cache: SimilarityCache) -> tuple[Tensor, Tensor]:
    """Carry ∂L/∂M_s (B,) back to both feature vectors, each (B, D): Eq. (15).

    ∂M_s/∂t = (v₀ - (2s-1) t₀) / 2‖t‖, v by symmetry. With ∂L_s/∂M_s = -(1-y)/s this is the printed
    (1-y)/(2s‖t‖) · ((2s-1) t₀ - v₀).

    Example:
        >>> import torch
        >>> _, cache = similarity_forward(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
        >>> d_text, d_visual = similarity_backward(torch.ones(1), cache)  # cos = 0: v₀ / 2‖t‖ and t₀ / 2‖v‖
        >>> d_text.tolist(), d_visual.tolist()
        ([[0.0, 0.25]], [[0.5, 0.0]])
    """
    cosine = cache.cosine[:, None]  # (B, 1)
    d_cosine = 0.5 * d_similarity[:, None]  # (B, 1)
    d_text = d_cosine * (cache.visual_unit - cosine * cache.text_unit) / cache.text_norm
    d_visual = d_cosine * (cache.text_unit - cosine * cache.visual_unit) / cache.visual_norm
    return d_text, d_visual  # (B, D), (B, D)


def unit_vectors(features: Tensor) -> tuple[Tensor, Tensor]:
    """Compute t₀ = t/‖t‖ and ‖t‖, in float32 at least; where ‖t‖ is below NORM_FLOOR they are 0 and infinity.

    An infinite norm makes every quotient by it 0, here, in Eq. (15) and in autograd alike.

    Args:
        features: t, (…, D).
    Returns:
        t₀ (…, D) and ‖t‖ (…, 1).
    Example:
        >>> import torch
        >>> unit, norm = unit_vectors(torch.tensor([[0.0, 4.0], [0.0, 0.0]]))
        >>> unit.tolist(), norm.tolist()
        ([[0.0, 1.0], [0.0, 0.0]], [[4.0], [inf]])
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    norm = torch.linalg.vector_norm(features, dim=-1, keepdim=True)  # (…, 1)
    norm = torch.where(norm > NORM_FLOOR, norm, torch.inf)
    return features / norm, norm
