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
from safe_exp.training.compat import compute_norms

# θ_p, θ_t, θ_v, and the map that text and image share in model=released
NETWORK_PARTS = ("predictor", "text_encoder", "visual_encoder", "word_map")
STEPS_AT_ONCE = 64  # are summed together; to sum after each step would take a dozen operations a step


class EpochTotals(NamedTuple):
    """Sums over the articles and steps of an epoch, float32, from which its means are computed.

    The leading axes (…) are () for one run, and (R,) for the runs of a stack. P is the number of the network's parts.
    """

    loss: Tensor  # (…) over articles
    loss_prediction: Tensor  # (…) over articles
    loss_similarity: Tensor  # (…) over articles
    similarity_real: Tensor  # (…) over real articles; 0 for a variant without similarity
    similarity_fake: Tensor  # (…) over fake articles; 0 for a variant without similarity
    fake: Tensor  # (…) number of fake articles
    articles: Tensor  # (…) number of articles
    steps: Tensor  # (…) number of steps
    gradient_norms: Tensor  # (…, P) over steps, of each part

    def flatten(self) -> Tensor:
        """Join all sums into one tensor (…, 8 + P), to add or to reduce them in one operation."""
        *sums, norms = self
        return torch.cat([torch.stack(sums, dim=-1), norms], dim=-1)

    @classmethod
    def unflatten(cls, flat: Tensor) -> EpochTotals:
        """Split a tensor (…, 8 + P), made by `flatten` or a sum of such tensors, into the sums."""
        sums = len(cls._fields) - 1
        return cls._make([*flat[..., :sums].unbind(dim=-1), flat[..., sums:]])

    def reduced(self, reduce: Callable[[Tensor], Tensor]) -> EpochTotals:
        """Add up the totals of all processes.

        Args:
            reduce: sums a tensor over the processes, here one (…, 8 + P).
        """
        return self.unflatten(reduce(self.flatten()))

    def means(self, parts: Iterable[str], compares: bool) -> dict[str, float]:
        """Compute the means over articles (losses, similarity) and steps (gradient norms) of one run, by logged name.

        Args:
            parts: names of the network's parts, in the order of `gradient_norms`.
            compares: whether the variant has a similarity.
        """
        numbers = self.flatten().tolist()  # all at once, so that it waits for the device once
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


class _Step(NamedTuple):
    """The figures of one step."""

    losses: SafeLosses  # batch means, () each
    similarity: Tensor | None  # (B,) M_s
    label: Tensor  # (B,) 1 = fake
    norms: list[Tensor]  # ‖∂L/∂w‖ of each of W parameters, () each


class EpochSums:
    """Adds up the steps of one epoch.

    Args:
        parts: positions of the parameters of each part of the network, as `find_parts` returns them.
    """

    def __init__(self, parts: dict[str, list[int]]) -> None:
        self.parts = parts
        self.compares = False  # set by the first steps that are summed
        self.steps: list[_Step] = []
        self.sums: Tensor | None = None  # (8 + P,)
        self.start = time.perf_counter()

    def add(self, batch: NewsBatch, output: SafeOutput, losses: SafeLosses, norms: list[Tensor]) -> None:
        """Add one step, without waiting for the device.

        Args:
            batch: of the step, with labels (B,).
            output: of the network, with a similarity (B,) or None.
            losses: batch means, () each.
            norms: ‖∂L/∂w‖ of each parameter, () each.
        """
        self.steps.append(_Step(losses, output.similarity, batch.label, norms))
        if len(self.steps) == STEPS_AT_ONCE:
            self._sum_up()

    def total(self) -> EpochTotals:
        """Return the sums over all steps so far, of which there must be one or more."""
        if self.steps:
            self._sum_up()
        return EpochTotals.unflatten(self.sums)

    def means(self, totals: EpochTotals) -> dict[str, float]:
        """Compute the epoch's means by their logged names, and the articles per second up to now.

        Args:
            totals: the sums over all processes.
        """
        rate = totals.articles.item() / (time.perf_counter() - self.start)
        return {**totals.means(self.parts, self.compares), "train/articles_per_second": rate}

    def _sum_up(self) -> None:
        """Add the steps that are kept to the sums, and forget them."""
        steps, self.steps = self.steps, []
        label = torch.cat([step.label for step in steps])  # (ΣB,)
        fake = label.float()
        self.compares = steps[0].similarity is not None
        similarity = torch.cat([step.similarity for step in steps]).float() if self.compares else torch.zeros_like(fake)
        counts = [len(step.label) for step in steps]
        losses = torch.stack([loss for step in steps for loss in step.losses]).float().view(len(steps), 3)  # (S, 3)
        norms = torch.stack([norm for step in steps for norm in step.norms]).float().view(len(steps), -1)  # (S, W)
        weights = torch.tensor(counts, device=label.device, dtype=torch.float32)  # (S,)
        loss, loss_prediction, loss_similarity = weights @ losses
        sums = EpochTotals(
            loss=loss,
            loss_prediction=loss_prediction,
            loss_similarity=loss_similarity,
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
    """Refuse a training loss that is infinite or NaN.

    Args:
        loss: mean over the epoch.
        epoch: counted from 0.
        gamma: γ as configured.
    Raises:
        UserError: the loss is not finite; the message suggests a smaller γ.
    """
    if not loss < math.inf:  # also NaN
        raise UserError(
            f"The training loss became {loss} in epoch {epoch}: the updates are too large. "
            f"Try model.gamma={min(gamma / 10, 0.1):g}, or trainer.gradient_clip_val=1."
        )


def find_parts(names: Iterable[str]) -> dict[str, list[int]]:
    """Find the parts of a network, each with the positions of its parameters.

    Args:
        names: of the network's parameters, in their order.
    """
    owners = [name.partition(".")[0] for name in names]
    return {part: [i for i, owner in enumerate(owners) if owner == part] for part in NETWORK_PARTS if part in owners}


def gradient_norms(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Compute ‖∂L/∂w‖ of each parameter, () each, from `.grad`; 0 for a parameter that the loss does not depend on."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return compute_norms(gradients)
