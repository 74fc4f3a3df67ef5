"""Vectors of the patches of an article's pictures, one picture after the other: its sentence V."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from safe_exp.data.captioners import captioners
from safe_exp.data.embedded import EmbeddedSentences, Standardiser, fit_standardiser
from safe_exp.data.prepared import PreparedArticles
from safe_exp.data.prepared.patch_store import open_patch_store
from safe_exp.system.errors import UserError


class PatchesEntry(TypedDict):
    """The entry "patches" of data_manifest.json, of a run that reads vectors of patches."""

    content: str  # digest of the model's files, or of the callable's
    dim: int  # Ev


@dataclass(frozen=True)
class JoinedSentences(EmbeddedSentences):
    """Sentences that are several stored sequences each, one after the other."""

    parts: EmbeddedSentences | None = None  # the sequences; those of a sentence follow one another
    part_counts: np.ndarray | None = None  # (N,) int64, number of sequences of each sentence

    @classmethod
    def join(cls, parts: EmbeddedSentences, part_counts: np.ndarray) -> JoinedSentences:
        """Join sequences to sentences.

        Args:
            parts: in the order of the sentences.
            part_counts: number of sequences of each sentence, (N,) int64; 0: it is empty.
        """
        ends = np.concatenate([[0], np.cumsum(parts.widths)])[np.cumsum(part_counts)]  # (N,)
        widths = np.diff(ends, prepend=0)
        first = np.cumsum(part_counts) - part_counts
        lengths = torch.from_numpy(widths)
        return cls(parts.blocks, first, first, widths, lengths, parts.dim, parts=parts, part_counts=part_counts)

    def sentence(self, row: int) -> Tensor:
        """Return one sentence as it is stored, (n, E) float16."""
        first = int(self.start[row])
        found = [self.parts.sentence(part) for part in range(first, first + int(self.part_counts[row]))]
        return torch.cat(found) if found else torch.zeros(0, self.dim, dtype=torch.float16)

    def to(self, device: torch.device) -> EmbeddedSentences:
        """Return a copy on `device`, in which each sentence is one sequence."""
        moved = super().to(device)
        return EmbeddedSentences(**{field.name: getattr(moved, field.name) for field in fields(EmbeddedSentences)})


def reads_patches(prepared: PreparedArticles, reads: Sequence[str]) -> bool:
    """Tell if a model that reads these modalities reads vectors of patches of the articles' pictures."""
    return "visual" in reads and captioners[_settings(prepared)["name"]].gives_vectors


def describe_patches(prepared: PreparedArticles, sentences: JoinedSentences) -> PatchesEntry:
    """Describe the vectors for the manifest of a run."""
    return PatchesEntry(content=_settings(prepared)["content"], dim=sentences.dim)


def join_patches(prepared: PreparedArticles) -> JoinedSentences:
    """Find the sentences V of prepared articles, whose pictures' patches have their vectors in the store.

    Raises:
        UserError: no article has a picture that could be described, or the store has lost vectors.
    """
    hashes: list[Sequence[str]] = [each or () for each in prepared.patch_hashes or ()]
    flat = list(chain.from_iterable(hashes))
    if not flat:
        raise UserError("The articles have no image that could be described, and the run reads vectors of patches.")
    store = open_patch_store(prepared.folder.parent, _settings(prepared))
    if missing := store.missing(flat):
        raise UserError(
            f"{store.folder}: the vectors of {len(missing)} pictures are missing. Start the command again; they are "
            "computed again."
        )
    return JoinedSentences.join(store.open(flat).sentences, np.array([len(each) for each in hashes], np.int64))


def fit_patch_standardiser(sentences: EmbeddedSentences, rows: np.ndarray) -> Standardiser:
    """Compute what brings the vectors of the sentences `rows` (n,) int64 to mean 0 and a mean squared length of 1.

    The deviation of each dimension is 1/√E, so that γ suits these vectors as it does words: see RANDOM_LENGTH in
    data/vectors.py.
    """
    fitted = fit_standardiser(sentences, rows)
    return Standardiser(fitted.mean, fitted.scale * sentences.dim**0.5)


def _settings(prepared: PreparedArticles) -> dict[str, Any]:
    return prepared.manifest["settings"]["captioner"]
