"""Scores of the windows of words, and each filter's best one, for the runs of several seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor

from safe_exp.equations.text_cnn import as_table, pad_sentences
from safe_exp.equations.windows import (
    FilterBank,
    Sentences,
    Words,
    best_windows,
    convolve,
    distinct_words,
    window_sums,
)


def best_windows_of_runs(
    sentences: Sentences, lengths: Tensor | None, banks: Sequence[FilterBank], seeds: int
) -> tuple[Words, tuple[Tensor, ...], list[Tensor]]:
    """Find the best window of each filter in the sentences that its run reads.

    Args:
        sentences: of S seeds, one seed's after the other's: word vectors (S·B, L, E), or numbers (S·B, L) and a table.
        lengths: words in each sentence (S·B,); None: all of L.
        banks: of the runs, C of each seed, one for each width h: weight (S·C, K, h, E), bias (S·C, K).
        seeds: S.
    Returns:
        The sentences as words of a table; for each width î, (B, S·C·K), counted from the first sentence of all on, as
        `filters_backward` looks it up; and for each width the score at î before the bias, (S·B, C·K).
    """
    filters = tuple(FilterBank(bank.weight.flatten(0, 1), bank.bias.flatten()) for bank in banks)  # (S·C·K, …)
    scores: Iterator[Tensor]
    if isinstance(sentences, Words):
        padded, lengths = pad_sentences(sentences.tokens, lengths, filters)
        words, sizes = distinct_words_of_seeds(Words(sentences.vectors, cast(Tensor, padded)), seeds)
        scores = _convolve_words(words, banks, sizes)
    else:
        padded, lengths = pad_sentences(sentences, lengths, filters)
        embedded = cast(Tensor, padded)
        words, scores = as_table(embedded), _convolve(embedded, filters, seeds)
    positions, values = [], []
    for bank, score in zip(filters, scores, strict=True):
        value, position = best_windows(score, lengths, width=bank.weight.shape[1])  # (S·B, C·K) each
        values.append(value)
        positions.append(_from_first_sentence(position, seeds, words.tokens))
    return words, tuple(positions), values


def _convolve(embedded: Tensor, filters: Sequence[FilterBank], seeds: int) -> Iterator[Tensor]:
    """Compute `convolve` of the sentences of each seed, (S·B, L, E), with the filters of its runs, (S·C·K, h, E)."""
    for bank in filters:
        parts = zip(embedded.chunk(seeds), bank.weight.chunk(seeds), bank.bias.chunk(seeds), strict=True)
        scores = [next(convolve(sentences, [FilterBank(weight, bias)])) for sentences, weight, bias in parts]
        yield scores[0] if seeds == 1 else torch.cat(scores)  # (S·B, L - h + 1, C·K)


def distinct_words_of_seeds(words: Words, seeds: int) -> tuple[Words, list[int]]:
    """Reduce the table to the words of each seed's sentences, one seed's after the other's.

    Args:
        words: table (V, E) and the word numbers of S seeds, (S·B, L).
    Returns:
        A table (ΣV', E) with word numbers (S·B, L), and the number of rows of each seed.
    """
    if seeds == 1:
        words = distinct_words(words)
        return words, [len(words.vectors)]
    vectors, tokens = words
    of_seeds = tokens.view(seeds, -1)  # (S, B·L)
    occurs = torch.zeros(seeds, len(vectors), dtype=torch.bool, device=tokens.device).scatter_(1, of_seeds, True)
    numbers = occurs.flatten().cumsum(0) - 1  # (S·V,): the row of a seed's word among those that occur
    begin = torch.arange(0, occurs.numel(), len(vectors), device=tokens.device)[:, None]  # (S, 1)
    numbered = numbers.index_select(0, (of_seeds + begin).flatten()).view_as(tokens)
    own = vectors.index_select(0, occurs.nonzero()[:, 1])
    return Words(own, numbered), occurs.sum(dim=1).tolist()


def _convolve_words(words: Words, banks: Sequence[FilterBank], sizes: Sequence[int]) -> Iterator[Tensor]:
    """Compute `convolve_words` of the sentences of each seed with the filters of its runs, in one product.

    Args:
        words: of S·B sentences, from `distinct_words_of_seeds`.
        banks: one for each width h, weight (S·C, K, h, E).
        sizes: rows of each seed in the table.
    Returns:
        Scores (S·B, L - h + 1, C·K) of each width.
    """
    widths = [bank.weight.shape[2] for bank in banks]
    of_seeds = [bank.weight.unflatten(0, (len(sizes), -1)).permute(0, 3, 1, 2, 4) for bank in banks]
    rows = torch.cat(of_seeds, dim=1)  # (S, Σh, C, K, E): row j of every filter
    num_filters = rows.shape[2] * rows.shape[3]  # C·K
    rows = rows.flatten(1, 3).mT  # (S, E, Σh·C·K)
    products = words.vectors.new_empty(len(words.vectors), rows.shape[2])
    for table, filters, product in zip(words.vectors.split(sizes), rows, products.split(sizes), strict=True):
        torch.mm(table, filters, out=product)
    return window_sums(words.tokens, products.view(-1, num_filters), widths)


def _from_first_sentence(positions: Tensor, seeds: int, tokens: Tensor) -> Tensor:
    """Count positions (S·B, C·K) from the first sentence of all: (B, S·C·K), which `filters_backward` looks up."""
    if seeds == 1:
        return positions
    of_seeds = positions.view(seeds, -1, positions.shape[1])  # (S, B, C·K)
    first = torch.arange(0, tokens.numel(), tokens.numel() // seeds, device=positions.device)  # (S,)
    return (of_seeds + first[:, None, None]).transpose(0, 1).flatten(1)
