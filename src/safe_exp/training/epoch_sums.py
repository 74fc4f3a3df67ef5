"""The figures of a training epoch, summed over its batches on the device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
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


class EpochTotals(NamedTuple):
    """Sums over articles and steps, from which an epoch's means are computed; all float32.

    The leading axes (…) are none for one run, and R for the runs of a stack.
    """

    loss: Tensor  # (…,) over articles
    loss_prediction: Tensor
    loss_similarity: Tensor
    similarity_real: Tensor  # over real articles; 0 where the variant compares nothing
    similarity_fake: Tensor
    fake: Tensor  # fake articles
    articles: Tensor
    steps: Tensor
    gradient_norms: Tensor  # (…, P) over steps, by part of the network

    def flatten(self) -> Tensor:
        """All sums as one tensor (…, 8 + P), which processes exchange at once, and which can be added up."""
        *sums, norms = self
        return torch.cat([torch.stack(sums, dim=-1), norms], dim=-1)

    @classmethod
    def unflatten(cls, flat: Tensor) -> EpochTotals:
        """Take apart the tensor (…, 8 + P) that `flatten` made, or a sum of such."""
        sums = len(cls._fields) - 1
        return cls(*flat[..., :sums].unbind(dim=-1), flat[..., sums:])

    def reduced(self, reduce: Callable[[Tensor], Tensor]) -> EpochTotals:
        """The totals over all processes; `reduce` sums one tensor over them."""
        return self.unflatten(reduce(self.flatten()))

    def means(self, parts: Iterable[str], compares: bool) -> dict[str, float]:
        """Means over articles (losses, similarity) and over steps (gradient norms), by their logged names.

        Args:
            parts: of the network, in the order of `gradient_norms`; the totals are of one run.
            compares: whether the variant has a similarity.
        """
        numbers = self.flatten().tolist()  # one wait for the device
        loss, loss_prediction, loss_similarity, real, fake, fakes, articles, steps, *norms = numbers
        figures = {
            "train/loss": loss / articles,
            "train/loss_prediction": loss_prediction / articles,
            "train/loss_similarity": loss_similarity / articles,
        }
        if compares:
            figures["train/similarity_real"] = real / max(articles - fakes, 1)
            figures["train/similarity_fake"] = fake / max(fakes, 1)
        means = (norm / steps for norm in norms)
        return figures | {f"train/gradient_norm_{part}": mean for part, mean in zip(parts, means, strict=True)}


class Step(NamedTuple):
    """The figures of one step, which its epoch adds up."""

    losses: SafeLosses
    similarity: Tensor | None  # (B,)
    label: Tensor  # (B,)
    norms: list[Tensor]  # ‖∂L/∂w‖ of each parameter


class EpochSums:
    """Adds up the steps of one epoch.

    Args:
        parts: for each part of the network its parameters, as `find_parts` finds them.
    """

    def __init__(self, parts: dict[str, list[int]]) -> None:
        self.parts = parts
        self.compares = False  # until a step has a similarity
        self.steps: list[Step] = []
        self.sums: Tensor | None = None
        self.start = time.perf_counter()

    def add(self, batch: NewsBatch, output: SafeOutput, losses: SafeLosses, norms: list[Tensor]) -> None:
        """Add one batch and its step's gradient norms, without waiting for the device."""
        self.steps.append(Step(losses, output.similarity, batch.label, norms))
        if len(self.steps) == STEPS_AT_ONCE:
            self._sum_up()

    def total(self) -> EpochTotals:
        """The sums over the steps that were added, at least one."""
        if self.steps:
            self._sum_up()
        return EpochTotals.unflatten(self.sums)

    def means(self, totals: EpochTotals) -> dict[str, float]:
        """The epoch's means by their logged names, with the articles per second up to now.

        Args:
            totals: of `total`, over all processes.
        """
        rate = totals.articles.item() / (time.perf_counter() - self.start)
        return {**totals.means(self.parts, self.compares), "train/articles_per_second": rate}

    def _sum_up(self) -> None:
        steps, self.steps = self.steps, []
        label = torch.cat([step.label for step in steps])  # (ΣB,)
        fake = label.float()
        self.compares = steps[0].similarity is not None
        similarity = torch.cat([step.similarity for step in steps]).float() if self.compares else torch.zeros_like(fake)
        counts = [len(step.label) for step in steps]
        losses = torch.stack([loss for step in steps for loss in step.losses]).float().view(len(steps), 3)
        norms = torch.stack([norm for step in steps for norm in step.norms]).float().view(len(steps), -1)  # (S, P)
        sums = EpochTotals(
            *(torch.tensor(counts, device=label.device, dtype=torch.float32) @ losses),
            similarity_real=similarity @ (1 - fake),
            similarity_fake=similarity @ fake,
            fake=fake.sum(),
            articles=torch.tensor(float(sum(counts)), device=label.device),
            steps=torch.tensor(float(len(steps)), device=label.device),
            gradient_norms=torch.stack(
                [norms[:, places].square().sum(1).sqrt().sum() for places in self.parts.values()]
            ),
        ).flatten()
        self.sums = sums if self.sums is None else self.sums + sums


def require_finite(loss: float, epoch: int, gamma: float) -> None:
    """Refuse to go on after an epoch (from 0) whose training loss is no finite number.

    Raises:
        UserError: as said; the message suggests a smaller γ.
    """
    if not loss < math.inf:  # also NaN
        raise UserError(
            f"The training loss became {loss} in epoch {epoch}: the updates are too large. "
            f"Try model.gamma={min(gamma / 10, 0.1):g}, or trainer.gradient_clip_val=1."
        )


def find_parts(names: Iterable[str]) -> dict[str, list[int]]:
    """Find the parts that a network has, and the parameters, counted from 0, that belong to each.

    Args:
        names: of its parameters, in their order.
    """
    owners = [name.partition(".")[0] for name in names]
    return {part: [i for i, owner in enumerate(owners) if owner == part] for part in PARTS if part in owners}


def gradient_norms(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """‖∂L/∂w‖ of each parameter, () each, in one operation; 0 where autograd has found no way to it."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return each_norm(gradients)
