"""A whole data set as integer matrices, from which a batch is selected in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from safe_exp.data.batch import NewsBatch
from safe_exp.data.captioners.codebook import Codebook
from safe_exp.data.prepared import PreparedArticles
from safe_exp.data.sampler import GlobalBatches
from safe_exp.data.text import UNKNOWN
from safe_exp.errors import UserError

CHUNK_ROWS = 16_384  # of a mapped matrix at a time: its pages need not stay


@dataclass(frozen=True)
class Sentences:
    """N sentences as rows of word numbers, as they lie on disk, and what each number is in the run's vocabulary."""

    stored: Tensor  # (N, L) int32, 0 = padding; may be mapped from a file
    lengths: Tensor  # (N,) int64
    vocabulary: Tensor | None  # (W + 1,) int64: the vocabulary's number of each stored one; None: they are the same

    @classmethod
    def of(cls, stored: np.ndarray, vocabulary: np.ndarray | None = None) -> Sentences:
        lengths = [np.count_nonzero(stored[i : i + CHUNK_ROWS], axis=1) for i in range(0, len(stored), CHUNK_ROWS)]
        return cls(
            torch.from_numpy(stored),
            torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *lengths]).astype(np.int64)),
            None if vocabulary is None else torch.from_numpy(vocabulary),
        )

    def rows(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Word numbers (B, L') and lengths (B,) of these rows; L': the longest of them."""
        lengths = self.lengths[index]  # (B,)
        stored = self.stored[index, : int(lengths.max())].long()  # (B, L')
        return stored if self.vocabulary is None else self.vocabulary[stored], lengths


@dataclass(frozen=True)
class EncodedArticles(Dataset):
    """N articles; row i is article i of the prepared data set."""

    text: Sentences
    visual: Sentences
    label: Tensor  # (N,) int64, 1 = fake
    title_lengths: Tensor  # (N,) int64: so many of the text's words are its title's

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, row: int) -> NewsBatch:
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> NewsBatch:
        """The batch of these rows, trimmed to its longest text and sentence. PyTorch's DataLoader sets the name."""
        index = torch.as_tensor(rows, dtype=torch.int64)  # (B,)
        text, text_lengths = self.text.rows(index)
        visual, visual_lengths = self.visual.rows(index)
        return NewsBatch(
            text, visual, text_lengths, visual_lengths, self.label[index], index, self.title_lengths[index]
        )


def encode_prepared(prepared: PreparedArticles, tokenizer: Tokenizer, codebook: Codebook | None) -> EncodedArticles:
    """Every article as numbers of this vocabulary, and of these visual words if there are some."""
    vocabulary = tokenizer.get_vocab()
    unknown = vocabulary[UNKNOWN]
    numbers = np.array([0, *(vocabulary.get(word, unknown) for word in prepared.words)], np.int64)  # (W + 1,)
    if codebook is None:
        visual = Sentences.of(prepared.caption_tokens, numbers)
    else:
        if prepared.descriptors is None:
            raise UserError("The articles have no image that could be described, and the run reads visual words.")
        words = np.zeros((len(prepared), prepared.descriptors.shape[1]), np.int32)  # (N, P)
        described = prepared.descriptor_row >= 0
        words[described] = codebook.encode(prepared.descriptors)[prepared.descriptor_row[described]]
        visual = Sentences.of(words)
    return EncodedArticles(
        Sentences.of(prepared.text_tokens, numbers),
        visual,
        torch.from_numpy(prepared.labels),
        torch.from_numpy(prepared.title_words.astype(np.int64)),
    )


def count_words(matrix: np.ndarray, rows: np.ndarray, words: int) -> np.ndarray:
    """How often each stored number from 1 to `words` occurs in these rows, (words,) int64."""
    counts = np.zeros(words + 1, np.int64)
    for start in range(0, len(rows), CHUNK_ROWS):
        part = matrix[rows[start : start + CHUNK_ROWS]]
        counts += np.bincount(part.ravel(), minlength=words + 1)
    return counts[1:]


def news_loader(encoded: EncodedArticles, batches: GlobalBatches) -> DataLoader:
    """A loader that yields NewsBatch. Without workers: selecting rows is faster than sending them between processes."""
    return DataLoader(
        encoded,
        batch_sampler=batches,
        collate_fn=_as_is,
        # Else each epoch would draw a number from the global generator, and validating more often would change the
        # training.
        generator=torch.Generator(),
    )


def _as_is(batch: NewsBatch) -> NewsBatch:
    return batch
