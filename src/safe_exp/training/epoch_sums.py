"""The figures of a training epoch, summed over its batches on the device."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeLosses, SafeOutput
from safe_exp.system.errors import UserError
from safe_exp.training.compat import each_norm

# θ_p, θ_t, θ_v, and the map that text and image share in model=released
PARTS = ("predictor", "text_encoder", "visual_encoder", "word_map")
STEPS_AT_ONCE = 64  # are summed together: a step then only keeps its figures, instead of a dozen operations on them


class Step(NamedTuple):
    """What one step leaves for the means of its epoch."""

    losses: SafeLosses
    similarity: Tensor | None  # (B,)
    label: Tensor  # (B,)
    norms: list[Tensor]  # ‖∂L/∂w‖ of each parameter


class EpochSums:
    """What the means of an epoch need.

    Args:
        parts: for each part of the network its parameters, as `parts_of` finds them.
    """

    def __init__(self, parts: dict[str, list[int]]) -> None:
        self.parts = parts
        self.steps: list[Step] = []
        self.sums: Tensor | None = None
        self.start = time.perf_counter()

    def add(self, batch: NewsBatch, output: SafeOutput, losses: SafeLosses, norms: list[Tensor]) -> None:
        """Add one batch and its step's gradient norms, without waiting for the device."""
        self.steps.append(Step(losses, output.similarity, batch.label, norms))
        if len(self.steps) == STEPS_AT_ONCE:
            self._sum_up()

    def total(self) -> Tensor:
        """All sums as one tensor, so that processes exchange it at once."""
        if self.steps:
            self._sum_up()
        return self.sums

    def _sum_up(self) -> None:
        steps, self.steps = self.steps, []
        label = torch.cat([step.label for step in steps])  # (ΣB,)
        fake = label.float()
        compares = steps[0].similarity is not None
        similarity = torch.cat([step.similarity for step in steps]).float() if compares else torch.zeros_like(fake)
        counts = [len(step.label) for step in steps]
        losses = torch.stack([loss for step in steps for loss in step.losses]).float().view(len(steps), 3)
        norms = torch.stack([norm for step in steps for norm in step.norms]).float().view(len(steps), -1)  # (S, P)
        of_parts = [norms[:, places].square().sum(1).sqrt().sum() for places in self.parts.values()]
        sums = torch.cat(
            [
                torch.tensor(counts, device=label.device, dtype=torch.float32) @ losses,
                torch.stack([similarity @ (1 - fake), similarity @ fake, fake.sum(), *of_parts]),
                torch.tensor([sum(counts), len(steps)], device=label.device, dtype=torch.float32),
            ]
        )
        self.sums = sums if self.sums is None else self.sums + sums

    def figures(self, sums: Tensor, compares: bool) -> dict[str, float]:
        """Means over the epoch's articles (losses, similarity) and steps (gradient norms), by their logged names.

        Args:
            sums: what `total` gave, added up over all processes.
            compares: whether the variant has a similarity.
        """
        loss, loss_prediction, loss_similarity, s_real, s_fake, fake, *norms, count, steps = sums.tolist()
        figures = {
            "train/loss": loss / count,
            "train/loss_prediction": loss_prediction / count,
            "train/loss_similarity": loss_similarity / count,
            "train/articles_per_second": count / (time.perf_counter() - self.start),
        }
        if compares:
            figures["train/similarity_real"] = s_real / max(count - fake, 1)
            figures["train/similarity_fake"] = s_fake / max(fake, 1)
        return figures | {
            f"train/gradient_norm_{part}": norm / steps for part, norm in zip(self.parts, norms, strict=True)
        }


def require_finite(loss: float, epoch: int, gamma: float) -> None:
    """Refuse to go on after an epoch (from 0) whose training loss is no number."""
    if not loss < math.inf:  # also NaN
        raise UserError(
            f"The training loss became {loss} in epoch {epoch}: the updates are too large. "
            f"Try model.gamma={min(gamma / 10, 0.1):g}, or trainer.gradient_clip_val=1."
        )


def parts_of(names: Iterable[str]) -> dict[str, list[int]]:
    """The parts that a network has, and which of its parameters, counted from 0, belong to each."""
    owners = [name.partition(".")[0] for name in names]
    return {part: [i for i, owner in enumerate(owners) if owner == part] for part in PARTS if part in owners}


def gradient_norms(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """‖∂L/∂w‖ of each parameter, () each, in one operation; 0 where autograd has found no way to it."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return each_norm(gradients)
