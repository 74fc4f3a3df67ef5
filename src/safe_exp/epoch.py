"""The figures of a training epoch, summed over its batches on the device."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor, nn

from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeLosses, SafeOutput
from safe_exp.errors import UserError
from safe_exp.network import SafeNetwork

PARTS = ("predictor", "text_encoder", "visual_encoder")  # θ_p, θ_t, θ_v


class EpochSums:
    """What the means of an epoch need; `sums` is one tensor, so that processes exchange it at once."""

    def __init__(self) -> None:
        self.sums: Tensor | None = None
        self.start = time.perf_counter()

    def add(self, batch: NewsBatch, output: SafeOutput, losses: SafeLosses, norms: Tensor) -> None:
        """Add one batch and its step's gradient norms (3,), without waiting for the device."""
        count = len(batch.label)
        similarity = torch.zeros_like(output.probability) if output.similarity is None else output.similarity
        fake = batch.label.to(similarity.dtype)
        sums = torch.cat(
            [
                torch.stack([value.float() for value in losses]) * count,
                torch.stack([similarity @ (1 - fake), similarity @ fake, fake.sum()]).float(),
                norms,
                torch.tensor([count, 1.0], device=norms.device),
            ]
        )
        self.sums = sums if self.sums is None else self.sums + sums

    def figures(self, sums: Tensor, compares: bool) -> dict[str, float]:
        """Means over the epoch's articles (losses, similarity) and steps (gradient norms), by their logged names.

        Args:
            sums: `self.sums`, added up over all processes.
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
        for part, norm in zip(PARTS, norms, strict=True):
            if not math.isnan(norm):  # NaN: the variant lacks this part
                figures[f"train/gradient_norm_{part}"] = norm / steps
        return figures


def require_finite(loss: float, epoch: int, gamma: float) -> None:
    """Refuse to go on after an epoch (from 0) whose training loss is no number."""
    if not loss < math.inf:  # also NaN
        raise UserError(
            f"The training loss became {loss} in epoch {epoch}: the updates are too large. "
            f"Try model.gamma={gamma / 10:g}, or trainer.gradient_clip_val=1."
        )


def gradient_norms(network: SafeNetwork) -> Tensor:
    """‖∂L/∂θ‖ of θ_p, θ_t, θ_v, (3,); NaN for a part that the variant lacks."""
    parts: list[nn.Module | None] = [getattr(network, name) for name in PARTS]
    device = next(network.parameters()).device
    norms = []
    for part in parts:
        gradients = [] if part is None else [p.grad for p in part.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True) if gradients else torch.tensor(0.0, device=device)
        norms.append(norm.float() if part is not None else norm.new_full((), torch.nan))
    return torch.stack(norms)
