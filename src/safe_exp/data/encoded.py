"""A whole data set as matrices of word numbers, or as sequences of vectors; a batch is a selection of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from safe_exp.data.batch import NewsBatch
from safe_exp.data.codebook import Codebook
from safe_exp.data.embedded import EmbeddedSentences, Standardiser
from safe_exp.data.prepared import PreparedArticles
from safe_exp.data.sampler import GlobalBatches
from safe_exp.data.text import UNKNOWN
from safe_exp.system.errors import UserError

SCORED_AT_ONCE = 256  # articles; scores do not depend on it, and few large batches take less time than many small ones
VECTORS_SCORED_AT_ONCE = 32  # articles whose sentences are vectors: 512 of 384 numbers each take 25 MB
WIDTH_STEP = 32  # words; batches on a GPU have a multiple of it: few widths, few kernels chosen, few graphs recorded
CHUNK_ROWS = 16_384  # rows of a mapped matrix read at a time, so that the system may drop its pages


@dataclass(frozen=True)
class Sentences:
    """N sentences as rows of stored word numbers, and the number of each stored word in the run's vocabulary."""

    stored: Tensor  # (N, L) int32, 0 = padding; may be mapped from a file
    lengths: Tensor  # (N,) int64
    vocabulary: Tensor | None  # (W + 1,) int64: the run's number of each stored one; None: they are the same
    widths: np.ndarray  # (N,) int64, the lengths once more: on the host, to be read without waiting for the GPU

    @property
    def longest(self) -> int:
        """Length of the longest row, padding included."""
        return self.stored.shape[1]

    @property
    def nbytes(self) -> int:
        """Memory that the sentences take on a device, in bytes."""
        parts = (self.stored, self.lengths, self.vocabulary)
        return sum(part.nbytes for part in parts if part is not None)

    @classmethod
    def from_matrix(cls, stored: np.ndarray, vocabulary: np.ndarray | None = None) -> Sentences:
        """Wrap a matrix (N, L) int32 and its look-up table (W + 1,) int64, and count the words of each row."""
        chunks = [np.count_nonzero(stored[i : i + CHUNK_ROWS], axis=1) for i in range(0, len(stored), CHUNK_ROWS)]
        lengths = np.concatenate([np.zeros(0, np.int64), *chunks]).astype(np.int64)
        numbers = None if vocabulary is None else torch.from_numpy(vocabulary)
        return cls(torch.from_numpy(stored), torch.from_numpy(lengths), numbers, lengths)

    def to(self, device: torch.device) -> Sentences:
        """Return a copy on `device`."""
        vocabulary = None if self.vocabulary is None else self.vocabulary.to(device)
        return replace(self, stored=self.stored.to(device), lengths=self.lengths.to(device), vocabulary=vocabulary)

    def rows(self, rows: np.ndarray, index: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Select the rows `index` (B,) int64: word numbers (B, width) and lengths (B,), both int64.

        Args:
            rows: the same on the host, which `EmbeddedSentences` needs.
        """
        stored = self.stored[:, :width].index_select(0, index)  # (B, L')
        if self.vocabulary is None:
            return stored.long(), self.lengths.index_select(0, index)
        numbers = self.vocabulary.index_select(0, stored.flatten()).view_as(stored)  # (B, L')
        return numbers, self.lengths.index_select(0, index)


@dataclass(frozen=True)
class CodedTexts:
    """The sentences of N prepared articles, made otherwise than from their words."""

    text: Sentences | EmbeddedSentences
    captions: Sentences | EmbeddedSentences
    titles: np.ndarray  # (N,) int64, items of the text that belong to the title
    text_cut: np.ndarray  # (N,) bool: the text was longer
    captions_cut: np.ndarray  # (N,) bool

    def overwrite(self, prepared: PreparedArticles) -> PreparedArticles:
        """Return the articles with the lengths of titles, and the texts that were cut, counted in these items."""
        return replace(
            prepared, title_words=self.titles.astype(np.int32), text_cut=self.text_cut, caption_cut=self.captions_cut
        )


@dataclass(frozen=True)
class EncodedArticles(Dataset):
    """N articles; row i is article i of the prepared data set."""

    text: Sentences | EmbeddedSentences
    visual: Sentences | EmbeddedSentences
    label: Tensor  # (N,) int64, 1 = fake
    title_lengths: Tensor  # (N,) int64, number of the text's words that belong to its title
    weight: Tensor | None = None  # (N,) float32, of each article in the training loss; None: all weigh alike

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, row: int) -> NewsBatch:
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> NewsBatch:
        """Select the batch of these rows. PyTorch's DataLoader looks for a method of this name."""
        index = np.asarray(rows, dtype=np.int64)
        return self.select(index, torch.from_numpy(index).to(self.device))

    def select(self, rows: np.ndarray, index: Tensor) -> NewsBatch:
        """Select the batch of `rows` (B,) int64, trimmed to its longest text and sentence.

        Args:
            index: `rows` as a tensor (B,) int64 on the articles' device.
        """
        text, text_lengths = self.text.rows(rows, index, self._width(self.text, rows))
        visual, visual_lengths = self.visual.rows(rows, index, self._width(self.visual, rows))
        label, title_lengths = self.label.index_select(0, index), self.title_lengths.index_select(0, index)
        weight = None if self.weight is None else self.weight.index_select(0, index)
        return NewsBatch(text, visual, text_lengths, visual_lengths, label, index, title_lengths, weight)

    def _width(self, sentences: Sentences | EmbeddedSentences, rows: np.ndarray) -> int:
        longest = int(sentences.widths[rows].max())
        if self.device.type == "cpu":
            return longest
        return min(-(-longest // WIDTH_STEP) * WIDTH_STEP, sentences.longest)

    @property
    def holds_vectors(self) -> bool:
        """True where a sentence of a batch is vectors, which take hundreds of times the memory of word numbers."""
        return isinstance(self.text, EmbeddedSentences) or isinstance(self.visual, EmbeddedSentences)

    @property
    def scored_at_once(self) -> int:
        """Number of articles in a batch that is scored."""
        return VECTORS_SCORED_AT_ONCE if self.holds_vectors else SCORED_AT_ONCE

    @property
    def device(self) -> torch.device:
        return self.label.device

    @property
    def nbytes(self) -> int:
        """Memory that the articles take on a device, in bytes."""
        kept = self.text, self.visual, self.label, self.title_lengths, self.weight
        return sum(part.nbytes for part in kept if part is not None)

    def standardised(self, standardisers: Mapping[str, Standardiser]) -> EncodedArticles:
        """Return a copy that standardises the sentences of vectors, `text` or `visual`, in each batch."""
        sides = {name: replace(getattr(self, name), standardiser=each) for name, each in standardisers.items()}
        return replace(self, **sides)

    def to(self, device: torch.device) -> EncodedArticles:
        """Return a copy on `device`; batches are then selected there."""
        parts = {name: getattr(self, name).to(device) for name in ("text", "visual", "label", "title_lengths")}
        return replace(self, **parts, weight=None if self.weight is None else self.weight.to(device))


def number_words(words: Sequence[str], tokenizer: Tokenizer) -> np.ndarray:
    """Find the number of each word in a vocabulary: (W + 1,) int64, that of padding first."""
    vocabulary = tokenizer.get_vocab()
    unknown = vocabulary[UNKNOWN]
    return np.array([0, *(vocabulary.get(word, unknown) for word in words)], np.int64)


def encode_prepared(
    prepared: PreparedArticles,
    tokenizer: Tokenizer,
    codebook: Codebook | None,
    coded: CodedTexts | None = None,
    patches: EmbeddedSentences | None = None,
) -> EncodedArticles:
    """Encode every article by the numbers of a vocabulary, and its images by visual words if there is a codebook.

    The visual words of several images follow one another.

    Args:
        coded: the sentences of texts and captions, where they are not words of the vocabulary.
        patches: the sentences of images, where they are vectors of patches.
    Raises:
        UserError: there is a codebook, and no article has a described image.
    """
    text: Sentences | EmbeddedSentences
    visual: Sentences | EmbeddedSentences
    if coded is not None:
        text, visual = coded.text, coded.captions
    else:
        numbers = number_words(prepared.words, tokenizer)
        text = Sentences.from_matrix(prepared.text_tokens, numbers)
        visual = Sentences.from_matrix(prepared.caption_tokens, numbers)
    if codebook is not None:
        if prepared.descriptors is None:
            raise UserError("The articles have no image that could be described, and the run reads visual words.")
        count, most = prepared.descriptors.shape[1], int(prepared.descriptor_count.max())
        of_images = codebook.encode(prepared.descriptors)  # (M, P)
        words = np.zeros((len(prepared), most * count), np.int32)  # (N, images * P)
        for k in range(most):
            having = prepared.descriptor_count > k
            words[having, k * count : (k + 1) * count] = of_images[prepared.descriptor_row[having] + k]
        visual = Sentences.from_matrix(words)
    titles = torch.from_numpy(prepared.title_words.astype(np.int64))
    labels = torch.from_numpy(prepared.labels)
    return EncodedArticles(text, visual if patches is None else patches, labels, titles)


def count_words(matrix: np.ndarray, rows: np.ndarray, words: int) -> np.ndarray:
    """Count the occurrences of each stored number from 1 to `words`.

    Args:
        matrix: stored word numbers (N, L) int32, 0 = padding; may be mapped from a file.
        rows: rows to be counted in, (n,) int64.
    Returns:
        (words,) int64.
    """
    counts = np.zeros(words + 1, np.int64)
    for start in range(0, len(rows), CHUNK_ROWS):
        part = matrix[rows[start : start + CHUNK_ROWS]]
        counts += np.bincount(part.ravel(), minlength=words + 1)
    return counts[1:]


class NewsLoader:
    """Iterate over the NewsBatches of an epoch, selected on the device where the articles lie.

    There are no worker processes: selecting rows takes 0.1 ms, sending them more. There is no DataLoader either, which
    would add as much again to each batch.
    """

    def __init__(self, encoded: EncodedArticles, batches: GlobalBatches) -> None:
        self.encoded = encoded
        self.batch_sampler = batches  # under this name Lightning looks for sampler.set_epoch

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[NewsBatch]:
        # Must stay a generator: Lightning asks for the iterator before it calls set_epoch when it resumes a run, and
        # only a body that starts with the first batch sees the right epoch.
        rows = np.ascontiguousarray(self.batch_sampler.sampler.order(), dtype=np.int64)
        index = torch.tensor(rows, device=self.encoded.device)  # once an epoch: a copy to a GPU may have to wait for it
        for share in self.batch_sampler.shares():
            yield self.encoded.select(rows[share], index[share])
