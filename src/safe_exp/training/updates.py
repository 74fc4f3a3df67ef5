"""The three values of `model.update`: three ways to set `.grad` of every parameter from a mini-batch.

closed_form: the exact gradients of Eqs. (12)-(18). algorithm1: the loop that the paper prints. autograd: PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from safe_exp.config import ModelConfig, Update
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeLosses, SafeOutput, algorithm1_epoch, safe_loss
from safe_exp.network import SafeNetwork


class UpdatedModule(Protocol):
    """The part of SafeModule that an update needs."""

    model: ModelConfig
    network: nn.Module

    @property
    def gamma(self) -> float:
        """γ of this step, after schedulers."""

    def loss_arguments(self, batch: NewsBatch) -> dict[str, Any]:
        """Collect the arguments of the loss that is minimised; `weight` is (B,)."""

    def draw_masks(self, batch: NewsBatch) -> dict[str, Any]:
        """Draw this step's `masks`; empty where dropout is off."""

    def look_up(self, batch: NewsBatch) -> dict[str, Tensor | None]:
        """Look up the batch's word vectors: the network's arguments, (B, L, E), with lengths (B,)."""

    def closed_form_step(self, batch: NewsBatch) -> tuple[SafeOutput, SafeLosses, dict[str, Tensor]]:
        """Compute output (B, …), losses () and exact gradients by parameter name, each in its parameter's shape."""

    def assign_gradients(self, gradients: dict[str, Tensor], batch: NewsBatch) -> None:
        """Set `.grad` to the gradients, each in its parameter's shape, averaged over the processes."""

    def share_of_articles(self, batch: NewsBatch) -> float | Tensor:
        """Compute the weight of this process's mean in the mean over processes, a number or ()."""

    def manual_backward(self, loss: Tensor) -> None:
        """Run Lightning's backward pass from a loss ()."""


StepOutput = tuple[SafeOutput, SafeLosses]  # detached from autograd


def _update_by_closed_form(module: UpdatedModule, batch: NewsBatch) -> StepOutput:
    """Set the exact gradients of Eqs. (12)-(18) over the mini-batch of B articles."""
    output, losses, gradients = module.closed_form_step(batch)
    module.assign_gradients(gradients, batch)
    return output, losses


def _update_by_algorithm1(module: UpdatedModule, batch: NewsBatch) -> StepOutput:
    """Run Algorithm 1 over the batch's articles, and set the gradient whose SGD step leads to the same parameters.

    With w₀ before and w₁ after the loop, that gradient is (w₀ - w₁) / γ. The optimiser takes the step, so that clipping
    and schedulers work as in the other modes; with optimizer=sgd the parameters end where Algorithm 1 leaves them.
    """
    gamma = module.gamma
    if gamma == 0:  # the last value of some schedules; for γ → 0 the quotient tends to the exact gradient
        return _update_by_closed_form(module, batch)
    sentences: dict[str, Any] = module.look_up(batch)
    loss = module.loss_arguments(batch)
    with torch.no_grad():
        output = module.network(**sentences)
        losses = safe_loss(output, batch.label, **loss)
        before = {name: parameter.clone() for name, parameter in module.network.named_parameters()}
        algorithm1_epoch(
            cast(SafeNetwork, module.network),  # Variant.check refuses this update for other networks
            **sentences,
            label=batch.label,
            gamma=gamma / len(batch.label),
            order=module.model.order.value,
            **loss,
        )
        gradients = {}
        for name, parameter in module.network.named_parameters():
            gradients[name] = (before[name] - parameter) / gamma
            parameter.copy_(before[name])
    module.assign_gradients(gradients, batch)
    return output, losses


def _update_by_autograd(module: UpdatedModule, batch: NewsBatch) -> StepOutput:
    """Let autograd compute the gradients; under DDP it averages them over the processes itself."""
    module.network.zero_grad()  # autograd adds to .grad; the other updates assign it
    output = module.network(**module.look_up(batch), **module.draw_masks(batch))
    losses = safe_loss(output, batch.label, **module.loss_arguments(batch))
    module.manual_backward(losses.total * module.share_of_articles(batch))
    return SafeOutput(*(None if value is None else value.detach() for value in output)), SafeLosses(
        *(loss.detach() for loss in losses)
    )


UPDATES: dict[Update, Callable[[UpdatedModule, NewsBatch], StepOutput]] = {
    Update.closed_form: _update_by_closed_form,
    Update.algorithm1: _update_by_algorithm1,
    Update.autograd: _update_by_autograd,
}
