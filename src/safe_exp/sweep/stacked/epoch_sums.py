"""The figures of a training epoch of R runs, summed over its steps on the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from safe_exp.equations import SafeLosses
from safe_exp.training.epoch_sums import STEPS_AT_ONCE, EpochTotals


class _Step(NamedTuple):
    """The figures of one step."""

    losses: SafeLosses  # batch means, (R,) each
    similarity: Tensor | None  # (R, B) M_s
    label: Tensor  # (R, B) 1 = fake
    norms: list[Tensor]  # ‖∂L/∂w‖ of each of W parameters, (R,) each


class StackSums:
    """Adds up the steps of one epoch, as `EpochSums` does for one run.

    Args:
        parts: positions of the parameters of each part of the network, as `find_parts` returns them.
    """

    def __init__(self, parts: dict[str, list[int]]) -> None:
        self.parts = parts
        self.steps: list[_Step] = []
        self.sums: Tensor | None = None  # (R, 8 + P)

    def add(self, losses: SafeLosses, similarity: Tensor | None, label: Tensor, norms: list[Tensor]) -> None:
        """Add one step, without waiting for the device; arguments as in `_Step`."""
        self.steps.append(_Step(losses, similarity, label, norms))
        if len(self.steps) == STEPS_AT_ONCE:
            self._sum_up()

    def total(self) -> Tensor:
        """Return the `EpochTotals` of all steps so far, flattened, (R, 8 + P); there must be one step or more."""
        if self.steps:
            self._sum_up()
        assert self.sums is not None
        return self.sums

    def _sum_up(self) -> None:
        """Add the steps that are kept to the sums, and forget them."""
        steps, self.steps = self.steps, []
        label = torch.cat([step.label for step in steps], dim=1)  # (R, ΣB)
        runs, articles = label.shape
        losses = torch.stack([loss for step in steps for loss in step.losses]).float()  # (S·3, R)
        norms = torch.stack([norm for step in steps for norm in step.norms]).float().view(len(steps), -1, runs)
        fake = label.to(losses.dtype)
        similarity = torch.zeros_like(fake)
        if steps[0].similarity is not None:
            similarity = torch.cat([step.similarity for step in steps], dim=1).float()
        counts = losses.new_tensor([float(step.label.shape[1]) for step in steps])  # (S,)
        loss, loss_prediction, loss_similarity = (counts[:, None, None] * losses.view(len(steps), 3, runs)).sum(dim=0)
        of_parts = [norms[:, places].norm(dim=1).sum(dim=0) for places in self.parts.values()]  # (R,) each
        sums = EpochTotals(
            loss=loss,
            loss_prediction=loss_prediction,
            loss_similarity=loss_similarity,
            similarity_real=(similarity * (1 - fake)).sum(dim=1),
            similarity_fake=(similarity * fake).sum(dim=1),
            fake=fake.sum(dim=1),
            articles=loss.new_full((runs,), articles),
            steps=loss.new_full((runs,), len(steps)),
            gradient_norms=torch.stack(of_parts, dim=1),
        ).flatten()
        self.sums = sums if self.sums is None else self.sums + sums
