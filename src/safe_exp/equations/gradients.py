"""The whole closed form over a mini-batch: exact gradients without an autograd graph."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .loss import SafeLosses, safe_loss
from .safe import SafeOutput, SafeWeights, name_gradients, safe_backward, safe_forward
from .windows import Words


class Network(Protocol):
    """What the closed form reads of `safe_exp.network.SafeNetwork`."""

    def weights(self) -> SafeWeights: ...


@torch.no_grad()  # the gradients are derived by hand; autograd has nothing to record
def closed_form_step(
    net: Network,
    text: Tensor | Words | None,
    visual: Tensor | Words | None,
    label: Tensor,
    *,
    alpha: float,
    beta: float,
    similarity_loss: str = "real_only",
    text_lengths: Tensor | None = None,
    visual_lengths: Tensor | None = None,
) -> tuple[SafeOutput, SafeLosses, dict[str, Tensor]]:
    """One forward pass and, from it, the batch-mean losses and their exact gradients; arguments as below."""
    output, cache = safe_forward(net.weights(), text, visual, text_lengths, visual_lengths)
    losses = safe_loss(output, label, alpha=alpha, beta=beta, similarity_loss=similarity_loss)
    gradients = safe_backward(output, cache, label, alpha=alpha, beta=beta, similarity_loss=similarity_loss)
    return output, losses, name_gradients(gradients)


def closed_form_gradients(
    net: Network,
    text: Tensor | Words | None,
    visual: Tensor | Words | None,
    label: Tensor,
    *,
    alpha: float,
    beta: float,
    similarity_loss: str = "real_only",
    text_lengths: Tensor | None = None,
    visual_lengths: Tensor | None = None,
) -> dict[str, Tensor]:
    """Exact gradient of the batch mean of L = α L_p + β L_s for every parameter, by Eqs. (12) and (14)-(18).

    Source: Zhou, Wu & Zafarani 2020 (SAFE), "Optimization of SAFE". Vectorised over articles and filters.

    Args:
        net: a `SafeNetwork`; any variant. Its parameters and their `.grad` stay as they are.
        text, visual: word vectors (B, L, E) and (B, Lv, Ev), or `Words`: their numbers (B, L) and one table.
        label: 1 = fake, 0 = real, (B,).
        alpha, beta: α and β, >= 0.
        similarity_loss: `real_only` (Eq. 15 as printed) or `both_classes`.
        text_lengths, visual_lengths: words in each article (B,), or None for all of L.
    Returns:
        {parameter name: gradient}, in the order, shapes and type of `net.named_parameters()`.
    Raises:
        ValueError: a shape does not fit, α or β is negative, or the similarity loss is unknown.
    """
    _, _, gradients = closed_form_step(
        net,
        text,
        visual,
        label,
        alpha=alpha,
        beta=beta,
        similarity_loss=similarity_loss,
        text_lengths=text_lengths,
        visual_lengths=visual_lengths,
    )
    return gradients
