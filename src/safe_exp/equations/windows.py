"""The scores w · x^{i:i+h-1} of every window, and the best one: all but the projection of the Text-CNN's forward pass.

There are two ways to the same scores. `convolve` takes word vectors as they stand in the sentences. `convolve_words`
takes word numbers and a table: a word's products with the filters are computed once, however often it occurs, and a
window's score is a sum of h of them. A batch of 64 articles of 130 words holds about 2,000 different words, not 8,320.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class FilterBank(NamedTuple):
    """The K filters of one window width h (the paper's w and b), or the gradient with respect to them."""

    weight: Tensor  # (K, h, E)
    bias: Tensor  # (K,)


class Words(NamedTuple):
    """Sentences as rows of a table of word vectors."""

    vectors: Tensor  # (V, E), row 0 = padding, all zeros
    tokens: Tensor  # (B, L) int64, rows of `vectors`


def convolve(embedded: Tensor, filters: Sequence[FilterBank]) -> Iterator[Tensor]:
    """Scores of every window before the bias, (B, L - h + 1, K) for each width, from word vectors (B, L, E)."""
    # (B, L, E) and (K, h, E) are the channels-last forms of an image of height 1: nothing is copied, and the scores
    # come out with the filters side by side, which is how `best_windows` reads them fastest.
    image = embedded.transpose(1, 2)[:, :, None]  # (B, E, 1, L)
    for bank in filters:
        scores = F.conv2d(image, bank.weight.transpose(1, 2)[:, :, None])  # (B, K, 1, L - h + 1)
        yield scores[:, :, 0].transpose(1, 2)


def convolve_words(words: Words, filters: Sequence[FilterBank]) -> Iterator[Tensor]:
    """The same scores from word numbers: each row of the table meets the filters once, all widths in one product."""
    widths = [bank.weight.shape[1] for bank in filters]
    rows = torch.cat([bank.weight.transpose(0, 1) for bank in filters])  # (Σh, K, E): row j of every filter
    products = F.linear(words.vectors, rows.flatten(0, 1)).view(-1, rows.shape[1])  # (V·Σh, K)
    return window_sums(words.tokens, products, widths)


def window_sums(tokens: Tensor, products: Tensor, widths: Sequence[int]) -> Iterator[Tensor]:
    """Scores (B, L - h + 1, K) for each width, from a word's products with row j of every filter, (V·Σh, K)."""
    (batch, length), num_filters = tokens.shape, products.shape[1]
    first = tokens * sum(widths)  # (B, L): where a word's products begin
    for width, offset in zip(widths, _running_sum(widths), strict=True):
        places = torch.arange(offset, offset + width, device=first.device)
        summed = first.unfold(1, width, 1) + places  # (B, L - h + 1, h)
        scores = F.embedding_bag(summed.flatten(0, 1), products, mode="sum")  # (B · (L - h + 1), K)
        yield scores.view(batch, length - width + 1, num_filters)


def best_windows(scores: Tensor, lengths: Tensor | None, width: int) -> tuple[Tensor, Tensor]:
    """The highest score of each filter and where its window begins, both (B, K); of equal ones the first.

    Args:
        scores: (B, L - h + 1, K); may be overwritten.
        lengths: words in each sentence (B,); windows past n - h + 1 do not count. None: all count.
        width: h.
    """
    if lengths is not None:
        windows = (lengths - width + 1).clamp(min=1)  # (B,)
        missing = torch.arange(scores.shape[1], device=scores.device) >= windows[:, None]  # (B, L - h + 1)
        # Added and not filled in: of the two only the sum runs vectorised along the filters, 3 times as fast.
        never = torch.zeros_like(missing, dtype=scores.dtype).masked_fill_(missing, -torch.inf)
        scores = scores.add_(never[:, :, None])
    if scores.device.type != "cpu":  # the pooling's derivative has no deterministic kernel there
        return scores.max(dim=1)
    # Pooling finds value and place in one vectorised pass; `max` with its indices takes several times as long.
    values, positions = F.max_pool2d(
        scores.transpose(1, 2)[:, :, None], (1, scores.shape[1]), return_indices=True
    )  # (B, K, 1, 1), (B, K, 1, 1)
    return values[:, :, 0, 0], positions[:, :, 0, 0]


def distinct_words(words: Words) -> Words:
    """The same sentences over a table of their own words alone, unless the one there is is small already."""
    vectors, tokens = words
    if 4 * len(vectors) <= tokens.numel():  # as many different words would be expected; to look for them costs as much
        return words
    occurs = torch.zeros(len(vectors), dtype=torch.bool, device=tokens.device)
    occurs[tokens.flatten()] = True
    numbers = occurs.cumsum(0) - 1  # (V,): a word's row among those that occur
    own = vectors.index_select(0, occurs.nonzero()[:, 0])  # copies whole rows, which vectors[occurs] does not
    return Words(own, numbers.index_select(0, tokens.flatten()).view_as(tokens))


def _running_sum(widths: Sequence[int]) -> list[int]:
    return [sum(widths[:i]) for i in range(len(widths))]
