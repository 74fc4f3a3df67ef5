"""Members of a model: the networks whose mean logit is its answer, those that read the same input side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeOutput, Words
from safe_exp.equations.prediction import fake_probability
from safe_exp.network.variants import embed_batch, variants
from safe_exp.runs.ensemble import StoredModel
from safe_exp.runs.stored_run import StoredRun


class MemberGroup:
    """Networks that read the very same word vectors of an article, which is encoded and looked up once for all.

    Args:
        members: with equal tokenizer, vectors, codebook and cuts.
        dtype: of the weights.
        device: of the weights; batches are moved there.
    Raises:
        UserError: the weights of a member do not fit.
    """

    def __init__(
        self,
        members: Sequence[StoredRun],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model, self.artifacts = members[0].model, members[0].artifacts  # as far as they concern the input
        self.variant, self.dtype, self.device = variants[self.model.variant], dtype, torch.device(device)
        self.networks = [member.network().to(self.device, dtype) for member in members]

    def forward(self, batch: NewsBatch, join: Callable[[Tensor, Tensor], Any] = Words) -> list[tuple[SafeOutput, Any]]:
        """Run each network on a batch: its output, and the cache that explanations read.

        Args:
            batch: encoded with these artifacts, on the CPU.
            join: as in `embed_batch`.
        Returns:
            For each network, on its device, the output and the cache.
        """
        vectors = self.artifacts.text_vectors, self.artifacts.visual_vectors
        arguments = embed_batch(self.model, batch, *vectors, join)
        arguments = {name: self._moved(argument) for name, argument in arguments.items()}
        return [self.variant.forward(network, **arguments) for network in self.networks]

    def _moved(self, argument: Any) -> Any:
        """Move an argument to the device, and convert a sentence of vectors, (B, L, E) float32."""
        if isinstance(argument, Words):
            return Words(argument.vectors.to(self.device), argument.tokens.to(self.device))
        if not isinstance(argument, Tensor):
            return argument
        return argument.to(self.device, self.dtype if argument.is_floating_point() else argument.dtype)


def group_members(
    stored: StoredModel, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> list[MemberGroup]:
    """Group the members of a model by what they read.

    Raises:
        UserError: the weights of a member do not fit the model that its settings describe, or are not finite.
    """
    groups: dict[tuple[Any, ...], list[StoredRun]] = {}
    for member in stored.members:
        groups.setdefault(_input_key(member), []).append(member)
    return [MemberGroup(members, dtype, device) for members in groups.values()]


def _input_key(member: StoredRun) -> tuple[Any, ...]:
    """Make a key that is equal for members with the same input. Equal parts of artifacts are one object by now."""
    settings = member.artifacts.manifest["settings"]
    names = [part.name for part in fields(member.artifacts) if part.name not in ("manifest", "training_texts")]
    cuts = settings["max_text_tokens"], settings["max_visual_tokens"]
    return (
        *(id(getattr(member.artifacts, name)) for name in names),
        *cuts,
        member.model.headline_words,
        member.model.body_words,
    )


def mean_output(outputs: Sequence[SafeOutput]) -> SafeOutput:
    """Average logits (B, 2) and similarities (B,) of several networks; of one, return its output as it is."""
    if len(outputs) == 1:
        return outputs[0]
    logits = torch.stack([output.logits for output in outputs]).mean(dim=0)  # (B, 2)
    alike = [output.similarity for output in outputs if output.similarity is not None]
    similarity = torch.stack(alike).mean(dim=0) if alike else None  # (B,)
    return SafeOutput(None, None, logits, fake_probability(logits), similarity)
