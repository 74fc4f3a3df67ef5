"""Sentences as sequences of vectors, one for each word, piece of a word or patch, selected by row for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Standardiser:
    """Mean and standard deviation of each dimension, over the sentences of the training side."""

    mean: Tensor  # (E,) float32
    scale: Tensor  # (E,) float32; 1 for a dimension that never changes

    def apply(self, vectors: Tensor) -> Tensor:
        """Standardise vectors (…, E)."""
        return (vectors - self.mean.to(vectors)) / self.scale.to(vectors)

    def to(self, device: torch.device) -> Standardiser:
        """Return a copy on `device`."""
        return Standardiser(self.mean.to(device), self.scale.to(device))


@dataclass(frozen=True)
class EmbeddedSentences:
    """N sentences as rows of blocks of vectors. A block may be mapped from a file: only selected rows are read."""

    blocks: tuple[Tensor, ...]  # (T, E) each, float16; the sentences of a block follow one another
    block: np.ndarray  # (N,) int64, the block of each sentence
    start: np.ndarray  # (N,) int64, its first row there
    widths: np.ndarray  # (N,) int64, its length, on the host
    lengths: Tensor  # (N,) int64, the same on the device of the blocks
    dim: int  # E
    standardiser: Standardiser | None = None  # applied to what is selected

    @classmethod
    def from_places(
        cls, blocks: Sequence[Tensor], block: np.ndarray, start: np.ndarray, widths: np.ndarray, dim: int
    ) -> EmbeddedSentences:
        """Wrap blocks (T, E), and the place of each of N sentences in them: block, first row and length, (N,) int64."""
        return cls(tuple(blocks), block, start, widths, torch.from_numpy(widths), dim)

    @property
    def longest(self) -> int:
        """Length of the longest sentence."""
        return int(self.widths.max(initial=0))

    @property
    def nbytes(self) -> int:
        """Memory that the sentences take on a device, in bytes."""
        return int(self.widths.sum()) * self.dim * 2 + self.lengths.nbytes * 2

    def to(self, device: torch.device) -> EmbeddedSentences:
        """Return a copy on `device`, as one block that holds these sentences alone."""
        start = np.cumsum(self.widths) - self.widths
        flat = torch.empty(int(self.widths.sum()), self.dim, dtype=torch.float16, device=device)  # (T, E)
        for row in range(len(self.widths)):
            flat[start[row] : start[row] + self.widths[row]].copy_(self.sentence(row))
        standardiser = self.standardiser and self.standardiser.to(device)
        return replace(
            self, blocks=(flat,), block=np.zeros_like(self.block), start=start, lengths=self.lengths.to(device),
            standardiser=standardiser,
        )  # fmt: skip

    def rows(self, rows: np.ndarray, index: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Select sentences: their vectors (B, width, E) float32, zeros past each length, and their lengths (B,) int64.

        Args:
            rows: rows of the sentences, (B,) int64.
            index: the same as a tensor on the device.
            width: at least the length of the longest of them.
        """
        lengths = self.lengths.index_select(0, index)
        on_host = lengths.device.type == "cpu"
        vectors = (self._copy(rows, width) if on_host else self._gather(rows, width)).float()
        if self.standardiser is not None:
            vectors = self.standardiser.apply(vectors)
        if self.standardiser is not None or not on_host:
            padding = torch.arange(width, device=lengths.device) >= lengths[:, None]  # (B, width)
            vectors = vectors.masked_fill(padding[:, :, None], 0)
        return vectors, lengths

    def _copy(self, rows: np.ndarray, width: int) -> Tensor:
        """Copy sentences one by one, which reads nothing else: (B, width, E), zeros past each length."""
        vectors = torch.zeros(len(rows), width, self.dim, dtype=torch.float16)
        for place, row in enumerate(rows):
            vectors[place, : self.widths[row]] = self.sentence(row)
        return vectors

    def _gather(self, rows: np.ndarray, width: int) -> Tensor:
        """Gather sentences of one block by one operation, as a GPU likes it: (B, width, E), anything past a length."""
        (block,) = self.blocks
        if not len(block):
            return block.new_zeros(len(rows), width, self.dim)
        start = torch.from_numpy(self.start[rows]).to(block.device, non_blocking=True)
        places = (start[:, None] + torch.arange(width, device=block.device)).clamp(max=len(block) - 1)  # (B, width)
        return block.index_select(0, places.flatten()).view(*places.shape, -1)

    def sentence(self, row: int) -> Tensor:
        """Return one sentence as it is stored, (n, E) float16."""
        if not self.widths[row]:  # it lies in no block
            return torch.zeros(0, self.dim, dtype=torch.float16)
        start = self.start[row]
        return self.blocks[self.block[row]][start : start + self.widths[row]]


def fit_standardiser(sentences: EmbeddedSentences, rows: np.ndarray) -> Standardiser:
    """Compute mean and standard deviation of each dimension over all vectors of the sentences `rows` (n,) int64.

    Two passes over the sentences, one sentence in memory at a time, summed in float64.
    """
    total, count = torch.zeros(sentences.dim, dtype=torch.float64), int(sentences.widths[rows].sum())
    for row in rows:
        total += sentences.sentence(row).double().sum(dim=0)
    mean = total / max(count, 1)
    squares = torch.zeros_like(mean)
    for row in rows:
        squares += (sentences.sentence(row).double() - mean).square().sum(dim=0)
    return make_standardiser(mean, squares / max(count, 1))


def make_standardiser(mean: Tensor, variance: Tensor) -> Standardiser:
    """Make a standardiser of a mean and a variance, (E,) float64 each."""
    scale = variance.sqrt()
    return Standardiser(mean.float(), torch.where(scale > 1e-6, scale, torch.ones_like(scale)).float())


def standardise_table(table: Tensor, counts: np.ndarray) -> Tensor:
    """Standardise a table of word vectors (V, E) over the words of the training side; row 0, padding, stays zero.

    Args:
        counts: occurrences of each row's word there, (V,); of padding none.
    Returns:
        (V, E) float32.
    """
    shares = torch.from_numpy(counts / max(counts.sum(), 1))[:, None]  # (V, 1) float64
    numbers = table.double()
    mean = (shares * numbers).sum(dim=0)
    standardiser = make_standardiser(mean, (shares * (numbers - mean).square()).sum(dim=0))
    standardised = standardiser.apply(table.float())
    standardised[0] = 0
    return standardised
