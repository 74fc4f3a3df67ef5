"""ServedNetwork: the network of a stored run from word numbers to probabilities, as one module that can be exported."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from safe_exp.data.artifacts import Artifacts
from safe_exp.data.batch import NewsBatch
from safe_exp.data.transformer.coder import FIRST_TOKEN
from safe_exp.equations.prediction import fake_probability
from safe_exp.inference.members import mean_output
from safe_exp.network.variants import embed_batch, variants
from safe_exp.runs.ensemble import StoredModel
from safe_exp.system.errors import UserError

EXAMPLE_ARTICLES, EXAMPLE_WORDS = 3, 5  # of the batch that an export follows


class ServedOutput(NamedTuple):
    """Results for B articles; those that a run does not have are left out of an exported file."""

    logits: Tensor  # (B, 2), entry 0 = fake; the mean of the members' logits
    probability: Tensor  # (B,) of fake
    calibrated: Tensor | None  # (B,): the probability at the run's temperature; None: the run has no calibration
    similarity: Tensor | None  # (B,): M_s; None where the variant compares nothing


class ServedNetwork(nn.Module):
    """The networks of a stored run with their tables of word vectors.

    Args:
        stored: a run, or a sweep's jobs that read the very same words.
    Raises:
        UserError: the weights do not fit, or the jobs read different words.
    """

    def __init__(self, stored: StoredModel) -> None:
        super().__init__()
        first = stored.members[0]
        self.model, self.variant = first.model, variants[first.model.variant]
        artifacts = first.artifacts
        settings = artifacts.manifest["settings"]
        if any(_words_read(member) != _words_read(first) for member in stored.members):
            raise UserError(
                f"run={stored.source}: its jobs have vocabularies of their own, so no numbers of words mean the same "
                "to all of them. Export one job, or a sweep over seeds."
            )
        self.networks = nn.ModuleList(member.network() for member in stored.members)
        self.register_buffer("text_table", artifacts.text_vectors)
        self.register_buffer("visual_table", artifacts.visual_vectors)
        self.temperature = None if stored.calibration is None else stored.calibration.temperature
        self.vectors = _sides_of_vectors(first)
        self.standardised = tuple(side for side in self.vectors if side in artifacts.standardisers)
        for side in self.standardised:
            self.register_buffer(f"{side}_mean", artifacts.standardisers[side].mean)
            self.register_buffer(f"{side}_scale", artifacts.standardisers[side].scale)
        self.limits = {"text": settings["max_text_tokens"], "visual": settings["max_visual_tokens"]}
        sizes = (self.model.headline_words or 0, self.model.body_words or 0)
        self.padding = max(*self.model.filter_sizes, *sizes)  # so that no size depends on the length of a batch

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs, in their order."""
        names = [name for side in self.variant.reads for name in (side, f"{side}_lengths")]
        return [*names, "title_lengths"] if self.model.headline_words is not None else names

    def forward(self, *inputs: Tensor) -> ServedOutput:
        """Score B articles.

        Args:
            inputs: as `inputs` names them. `text` and `visual`: word numbers (B, L) int64, or vectors (B, L, E) float32
                of a side in `vectors`, not standardised; `…_lengths` (B,) int64, words before the padding.
        """
        given = dict(zip(self.inputs, inputs, strict=True))
        arguments = embed_batch(self.model, self._make_batch(given), self.text_table, self.visual_table, _look_up)
        output = mean_output([network(**arguments) for network in self.networks])
        calibrated = None
        if self.temperature is not None:
            calibrated = fake_probability(output.logits / self.temperature)
        return ServedOutput(output.logits, output.probability, calibrated, output.similarity)

    def _make_batch(self, given: dict[str, Tensor]) -> NewsBatch:
        """Make a batch; a side that is not read is empty."""
        count = next(iter(given.values())).shape[0]
        nothing = torch.zeros(count, dtype=torch.int64)
        sides = []
        for side in ("text", "visual"):
            words = given.get(side, nothing[:, None])
            if side in self.standardised:  # padding is zeroed by the lengths
                words = (words - self.get_buffer(f"{side}_mean")) / self.get_buffer(f"{side}_scale")
            sides.append(F.pad(words, (0, 0) * (words.dim() - 2) + (0, self.padding)))
        lengths = [given.get(f"{side}_lengths", nothing) for side in ("text", "visual")]
        return NewsBatch(*sides, *lengths, nothing, nothing, given.get("title_lengths", nothing))

    def example(self) -> dict[str, Tensor]:
        """Make inputs of the right types and shapes."""
        found = {}
        for name in self.inputs:
            shape: tuple[int, ...] = (EXAMPLE_ARTICLES,)
            dtype = torch.int64
            if name in ("text", "visual"):
                shape = (*shape, EXAMPLE_WORDS + (name == "visual"))
                if name in self.vectors:
                    shape, dtype = (*shape, self._table(name).shape[1]), torch.float32
            found[name] = torch.ones(shape, dtype=dtype)
        return found

    def _table(self, side: str) -> Tensor:
        return cast(Tensor, self.visual_table if side == "visual" else self.text_table)


def word_rows(artifacts: Artifacts) -> dict[str, int]:
    """Map each word, or token of a transformer, to its row in the table of text vectors; 0 is padding."""
    first = FIRST_TOKEN if "vectors" in artifacts.manifest else 0
    return {word: number + first for word, number in artifacts.tokenizer.get_vocab().items()}


def _look_up(table: Tensor, tokens: Tensor) -> Tensor:
    """Look up the vectors (B, L, E) of word numbers (B, L)."""
    return F.embedding(tokens, table)


def _words_read(member: Any) -> tuple[Any, ...]:
    """Identify the inputs of a member. Equal parts of a model's artifacts are one object."""
    artifacts = member.artifacts
    parts = (artifacts.tokenizer, artifacts.text_vectors, artifacts.visual_vectors)
    return (*map(id, parts), member.model.headline_words, member.model.body_words)


def _sides_of_vectors(member: Any) -> tuple[str, ...]:
    """List the sides whose words come as vectors: hidden states of a transformer, vectors of patches."""
    manifest = member.artifacts.manifest
    hidden = "vectors" in manifest and manifest["vectors"]["layer"] != 0
    patches, codebook = "patches" in manifest, member.artifacts.codebook is not None
    visual = patches or (hidden and not codebook)
    return tuple(side for side, is_vectors in (("text", hidden), ("visual", visual)) if is_vectors)
