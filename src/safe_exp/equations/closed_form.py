"""The whole closed form over a mini-batch: exact gradients without an autograd graph."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from .dropout import DropoutMasks
from .loss import SafeLosses, safe_loss
from .safe import SafeOutput, SafeWeights, name_gradients, safe_backward, safe_forward
from .windows import Sentences


class Network(Protocol):
    """Part of `safe_exp.network.SafeNetwork` that the closed form reads."""

    def weights(self) -> SafeWeights:
        """The parameters themselves, so that changing them in place changes the network."""


@torch.no_grad()  # the gradients are derived by hand; autograd has nothing to record
def closed_form_step(
    net: Network,
    text: Sentences | None,
    visual: Sentences | None,
    label: Tensor,
    *,
    alpha: float,
    beta: float,
    similarity_loss: str = "real_only",
    text_lengths: Tensor | None = None,
    visual_lengths: Tensor | None = None,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    masks: DropoutMasks | None = None,
) -> tuple[SafeOutput, SafeLosses, dict[str, Tensor]]:
    """Run one forward pass, and compute from it the batch-mean losses and their exact gradients.

    Args:
        net, text, visual, label, alpha, beta, similarity_loss, text_lengths, visual_lengths, weight, label_smoothing,
            masks: as in `closed_form_gradients`.
    Returns:
        The output, the losses, each (), and {parameter name: gradient} in the parameters' shapes.
    Raises:
        ValueError: as in `closed_form_gradients`.
    Example:
        >>> import torch
        >>> from safe_exp.network import SafeNetwork
        >>> net = SafeNetwork(text_dim=5, visual_dim=6, filter_sizes=[3, 4], num_filters=2, feature_dim=4).double()
        >>> text, visual = torch.rand(8, 12, 5).double(), torch.rand(8, 7, 6).double()
        >>> label, loss = torch.tensor([0, 1] * 4), {"alpha": 0.6, "beta": 0.4}
        >>> output, losses, gradients = closed_form_step(net, text, visual, label, **loss)
        >>> safe_loss(net(text, visual), label, **loss).total.backward()
        >>> all(torch.allclose(gradients[name], parameter.grad) for name, parameter in net.named_parameters())
        True
    """
    loss: dict[str, Any] = {"alpha": alpha, "beta": beta, "similarity_loss": similarity_loss}
    loss |= {"weight": weight, "label_smoothing": label_smoothing}
    output, cache = safe_forward(net.weights(), text, visual, text_lengths, visual_lengths, masks)
    losses = safe_loss(output, label, **loss)
    gradients = safe_backward(output, cache, label, **loss)
    return output, losses, name_gradients(gradients)


def closed_form_gradients(
    net: Network,
    text: Sentences | None,
    visual: Sentences | None,
    label: Tensor,
    *,
    alpha: float,
    beta: float,
    similarity_loss: str = "real_only",
    text_lengths: Tensor | None = None,
    visual_lengths: Tensor | None = None,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    masks: DropoutMasks | None = None,
) -> dict[str, Tensor]:
    """Compute the exact gradient of the batch mean of L = α L_p + β L_s for every parameter: Eqs. (12), (14)-(18).

    Source: Zhou, Wu & Zafarani 2020 (SAFE), "Optimization of SAFE". Vectorised over articles and filters.

    Args:
        net: a `SafeNetwork`; any variant. Its parameters and their `.grad` stay as they are.
        text, visual: word vectors (B, L, E) and (B, Lv, Ev), or `Words`: their numbers (B, L) and a table; None where
            the variant has no such encoder.
        label: 1 = fake, 0 = real, (B,).
        alpha, beta: α and β, >= 0.
        similarity_loss: `real_only` (Eq. 15 as printed) or `both_classes`.
        text_lengths, visual_lengths: words in each article (B,), or None for all of L.
        weight: w, each article's weight in the batch mean Σ w L / B, (B,); None: all are 1.
        label_smoothing: ε, 0 <= ε < 1: L_p is that of ỹ = y (1 - ε) + ε/2.
        masks: dropout of ĉ (B, g·K) and of t ⊕ v as M_p reads it (B, 2D); None: it is off.
    Returns:
        {parameter name: gradient}, in the order, shapes and type of `net.named_parameters()`.
    Raises:
        ValueError: a shape does not fit, sentences that an encoder reads are None, α or β is negative, the
            similarity loss is unknown, or ε is not in [0, 1).
    Example:
        >>> import torch
        >>> from safe_exp.network import SafeNetwork
        >>> net = SafeNetwork(1, 1, filter_sizes=[1], num_filters=1, feature_dim=1, variant="text_only")
        >>> parameters = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, -1.0, -2.0, 2.0])  # w, b, W_t, b_t, W_p, b_p
        >>> torch.nn.utils.vector_to_parameters(parameters, net.parameters())
        >>> text, label = torch.tensor([[[2.0]]]), torch.tensor([1])  # ĉ = t = 2; logits 0, 0; Δy = [-1/2, 1/2]
        >>> gradients = closed_form_gradients(net, text, None, label, alpha=1.0, beta=0.0)
        >>> gradients["predictor.weight"].tolist()  # Eq. (12): Δy t
        [[-1.0], [1.0]]
        >>> gradients["text_encoder.project.weight"].tolist()  # Eq. (16): B = W_pᵀ Δy = -1, times ĉ
        [[-2.0]]
        >>> gradients["text_encoder.filters.0.weight"].tolist()  # Eq. (17): W_t B = -1, times the word
        [[[-2.0]]]
        >>> options = {"weight": torch.tensor([3.0]), "label_smoothing": 0.5}  # ỹ = 3/4: w Δy = 3 · [-1/4, 1/4]
        >>> gradients = closed_form_gradients(net, text, None, label, alpha=1.0, beta=0.0, **options)
        >>> gradients["predictor.weight"].tolist()
        [[-1.5], [1.5]]
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
        weight=weight,
        label_smoothing=label_smoothing,
        masks=masks,
    )
    return gradients
