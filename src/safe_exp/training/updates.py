"""The three ways of `model.update` to put a mini-batch's gradients into `.grad`.

Closed form: Eqs. (12)-(18) over the mini-batch. Algorithm 1: the printed loop. Autograd: PyTorch's own, as a check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from safe_exp.config import LossSettings, ModelConfig, Update
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeLosses, SafeOutput, algorithm1_epoch, safe_loss


class Updated(Protocol):
    """The part of SafeModule that an update needs."""

    model: ModelConfig
    network: nn.Module
    loss_settings: LossSettings

    @property
    def gamma(self) -> float:
        """γ of this step."""

    def look_up(self, batch: NewsBatch) -> dict[str, Tensor | None]:
        """The network's arguments as word vectors (B, L, E)."""

    def closed_form_step(self, batch: NewsBatch) -> tuple[SafeOutput, SafeLosses, dict[str, Tensor]]:
        """Output, losses and exact gradients, by parameter name, of the batch."""

    def assign_gradients(self, gradients: dict[str, Tensor], batch: NewsBatch) -> None:
        """Put gradients into `.grad`, averaged over the processes."""

    def share_of_articles(self, batch: NewsBatch) -> float | Tensor:
        """Factor of this process's mean in the mean over all processes."""

    def manual_backward(self, loss: Tensor) -> None:
        """Lightning's backward pass."""


StepOutput = tuple[SafeOutput, SafeLosses]


def update_by_closed_form(module: Updated, batch: NewsBatch) -> StepOutput:
    """Assign the exact gradients of Eqs. (12)-(18) over the mini-batch."""
    output, losses, gradients = module.closed_form_step(batch)
    module.assign_gradients(gradients, batch)
    return output, losses


def update_by_algorithm1(module: Updated, batch: NewsBatch) -> StepOutput:
    """Walk through the batch's articles as printed, and assign the gradient whose step with γ makes that very move.

    So clipping, schedulers, the reduction over processes and the count of steps are the same in every mode; with
    optimizer=sgd the parameters end where Algorithm 1 leaves them.
    """
    gamma = module.gamma
    if gamma == 0:  # a scheduler's last value; the walk stands still, and its direction tends to the gradient
        return update_by_closed_form(module, batch)
    sentences: dict[str, Any] = module.look_up(batch)
    with torch.no_grad():
        output = module.network(**sentences)
        losses = safe_loss(output, batch.label, **module.loss_settings)
        before = {name: parameter.clone() for name, parameter in module.network.named_parameters()}
        algorithm1_epoch(
            module.network,
            **sentences,
            label=batch.label,
            gamma=gamma / len(batch.label),
            order=module.model.order.value,
            **module.loss_settings,
        )
        gradients = {}
        for name, parameter in module.network.named_parameters():
            gradients[name] = (before[name] - parameter) / gamma
            parameter.copy_(before[name])
    module.assign_gradients(gradients, batch)
    return output, losses


def update_by_autograd(module: Updated, batch: NewsBatch) -> StepOutput:
    """Let PyTorch derive the gradients, and average them over processes by itself."""
    module.network.zero_grad()  # the other updates assign the gradients, and leave nothing to be cleared
    output = module.network(**module.look_up(batch))
    losses = safe_loss(output, batch.label, **module.loss_settings)
    module.manual_backward(losses.total * module.share_of_articles(batch))
    return SafeOutput(*(None if value is None else value.detach() for value in output)), SafeLosses(
        *(loss.detach() for loss in losses)
    )


UPDATES: dict[Update, Callable[[Updated, NewsBatch], StepOutput]] = {
    Update.closed_form: update_by_closed_form,
    Update.algorithm1: update_by_algorithm1,
    Update.autograd: update_by_autograd,
}
