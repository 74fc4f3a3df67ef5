"""Inverted dropout on ĉ and on t ⊕ v as M_p reads it: the masks of a step, drawn once for both passes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class DropoutMasks(NamedTuple):
    """The masks of one step: 0 for a dropped number and 1/(1-p) for a kept one, so that the expected value stays.

    The gradient passes through the mask that the value passed through. M_s compares t and v as they are.

    Example:
        >>> import torch
        >>> DropoutMasks(features=torch.tensor([[2.0, 0.0]])).pooled  # p = 1/2 on t ⊕ v alone
        ()
    """

    pooled: tuple[Tensor, ...] = ()  # of ĉ, (B, g·K) for each encoder, in the order in which M_p reads them; (): none
    features: Tensor | None = None  # of t ⊕ v, (B, 2D), or of what M_p reads in its place; None: none


def draw_mask(shape: tuple[int, ...], probability: float, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Draw a mask of any shape on the generator's device: each number is dropped with probability p, 0 <= p < 1.

    Example:
        >>> import torch
        >>> mask = draw_mask((100, 100), 0.75, torch.Generator().manual_seed(0), torch.float32)
        >>> sorted(set(mask.flatten().tolist())), f"{mask.mean().item():.1f}"  # 0 or 1/(1-p)
        ([0.0, 4.0], '1.0')
    """
    kept = 1 - probability
    mask = torch.empty(shape, dtype=dtype, device=generator.device)
    return mask.bernoulli_(kept, generator=generator).div_(kept)


def apply_mask(values: Tensor, mask: Tensor | None) -> Tensor:
    """Multiply values, or the gradient with respect to the masked ones, by their mask (…) of the same shape.

    Example:
        >>> import torch
        >>> apply_mask(torch.tensor([3.0, 5.0]), torch.tensor([2.0, 0.0])).tolist()
        [6.0, 0.0]
    """
    return values if mask is None else values * mask.to(values.dtype)
