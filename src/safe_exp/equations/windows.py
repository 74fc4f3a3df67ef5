"""Scores w · x^{i:i+h-1} of every window of words, and each filter's best window: the Text-CNN before its projection.

Two functions compute the same scores. `convolve` takes word vectors as they stand in the sentences. `convolve_words`
takes word numbers and a table: each row of the table meets the filters once, however often its word occurs, and a
window's score is a sum of h products. A batch of 64 articles of 130 words holds about 2,000 different words, not 8,320.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor


class FilterBank(NamedTuple):
    """The K filters of one window width h (the paper's w and b), or the gradient with respect to them."""

    weight: Tensor  # (K, h, E)
    bias: Tensor  # (K,)


class Words(NamedTuple):
    """Sentences as rows of a table of word vectors.

    Example:
        >>> import torch
        >>> vectors = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])
        >>> words = Words(vectors, tokens=torch.tensor([[2, 1, 2, 0]]))
        >>> words.vectors[words.tokens].tolist()  # the same sentence as word vectors (1, 4, 2)
        [[[3.0, 4.0], [1.0, 2.0], [3.0, 4.0], [0.0, 0.0]]]
    """

    vectors: Tensor  # (V, E), row 0 = padding, all zeros
    tokens: Tensor  # (B, L) int64, rows of `vectors`


IMAGES = 16  # in which `multiply_rows` lays out its rows
LARGE_PRODUCT = 8e6  # multiply-adds, from which on it pays
# Multiply-adds that take as long as a word's part in the sums of `convolve_words`, and as long as the choice between it
# and `convolve`; measured on one thread.
SUM, LEAST_LOSS = 50, 4e6

Sentences: TypeAlias = Tensor | Words  # word vectors (B, L, E), or their numbers (B, L) and a table


def convolve(embedded: Tensor, filters: Sequence[FilterBank]) -> Iterator[Tensor]:
    """Compute the score of every window, before the bias, from word vectors.

    Args:
        embedded: word vectors (B, L, E), L at least the widest window.
        filters: one bank for each width h, weight (K, h, E).
    Yields:
        Scores (B, L - h + 1, K) of each width.
    Example:
        >>> import torch
        >>> bank = FilterBank(torch.tensor([[[1.0], [10.0]]]), torch.zeros(1))  # K = 1, h = 2, E = 1
        >>> next(convolve(torch.tensor([[[1.0], [2.0], [3.0]]]), [bank])).tolist()  # 1 · 1 + 10 · 2, 1 · 2 + 10 · 3
        [[[21.0], [32.0]]]
    """
    # (B, L, E) and (K, h, E) are the channels-last forms of an image of height 1: nothing is copied, and the scores
    # come out with the filters side by side, which is how `best_windows` reads them fastest.
    image = embedded.transpose(1, 2)[:, :, None]  # (B, E, 1, L)
    for bank in filters:
        scores = F.conv2d(image, bank.weight.transpose(1, 2)[:, :, None])  # (B, K, 1, L - h + 1)
        yield scores[:, :, 0].transpose(1, 2)


def convolve_words(words: Words, filters: Sequence[FilterBank]) -> Iterator[Tensor]:
    """Compute the scores of `convolve` from word numbers and their table.

    Each row of the table meets the filters once, all widths in one product.

    Args:
        words: table (V, E) and word numbers (B, L), L at least the widest window.
        filters: one bank for each width h, weight (K, h, E).
    Returns:
        Scores (B, L - h + 1, K) of each width.
    Example:
        >>> import torch
        >>> bank = FilterBank(torch.tensor([[[1.0], [10.0]]]), torch.zeros(1))
        >>> words = Words(torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([[1, 2, 3]]))
        >>> next(convolve_words(words, [bank])).tolist()
        [[[21.0], [32.0]]]
    """
    widths = [bank.weight.shape[1] for bank in filters]
    rows = torch.cat([bank.weight.transpose(0, 1) for bank in filters])  # (Σh, K, E): row j of every filter
    products = multiply_rows(words.vectors, rows.flatten(0, 1)).view(-1, rows.shape[1])  # (V·Σh, K)
    return window_sums(words.tokens, products, widths)


def multiply_rows(left: Tensor, right: Tensor) -> Tensor:
    """Compute `left` times the transpose of `right`, by the faster of PyTorch's two libraries.

    On processors of AMD a large product of oneDNN, which PyTorch uses for convolutions, takes half as long as one of
    MKL, which it uses for matrices. The rows of `left` are then the pixels of 16 images, and each row of `right` is a
    filter of one pixel.

    Args:
        left: (M, E).
        right: (N, E).
    Returns:
        The product of each two rows, (M, N).
    Example:
        >>> import torch
        >>> multiply_rows(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[10.0, 1.0]])).tolist()
        [[12.0], [34.0]]
    """
    rows, dim = left.shape
    if (
        left.device.type != "cpu"
        or left.dtype != torch.float32
        or rows * dim * len(right) < LARGE_PRODUCT
        or torch.compiler.is_exporting()
    ):
        return F.linear(left, right)
    pixels = -(-rows // IMAGES)
    padded = F.pad(left, (0, 0, 0, IMAGES * pixels - rows))
    # (16, E, 1, M/16) and (N, E, 1, 1) in channels-last form: nothing is copied, and the result lies as (M, N) does.
    product = F.conv2d(padded.view(IMAGES, 1, pixels, dim).permute(0, 3, 1, 2), right[:, :, None, None])
    return product.permute(0, 2, 3, 1).reshape(IMAGES * pixels, len(right))[:rows]


def window_sums(tokens: Tensor, products: Tensor, widths: Sequence[int]) -> Iterator[Tensor]:
    """Sum the products of each window's words with the filters' rows.

    Args:
        tokens: word numbers (B, L).
        products: of each word with row j of every filter, the rows of all widths one after the other, (V·Σh, K).
        widths: h of each bank.
    Yields:
        Scores (B, L - h + 1, K) of each width.
    Example:
        >>> import torch
        >>> products = torch.tensor([[0.0], [0.0], [1.0], [10.0], [2.0], [20.0]])  # of words 0, 1, 2 with rows 0, 1
        >>> next(window_sums(torch.tensor([[1, 2, 2]]), products, widths=[2])).tolist()  # 1 + 20, 2 + 20
        [[[21.0], [22.0]]]
    """
    (batch, length), num_filters = tokens.shape, products.shape[1]
    first = tokens * sum(widths)  # (B, L): where a word's products begin
    for width, offset in zip(widths, accumulate(widths[:-1], initial=0), strict=True):
        places = torch.arange(offset, offset + width, device=first.device)
        summed = first.unfold(1, width, 1) + places  # (B, L - h + 1, h)
        scores = F.embedding_bag(summed.flatten(0, 1), products, mode="sum")  # (B · (L - h + 1), K)
        yield scores.view(batch, length - width + 1, num_filters)


def best_windows(scores: Tensor, lengths: Tensor | None, width: int) -> tuple[Tensor, Tensor]:
    """Find the highest score of each filter and the place where its window begins; of equal scores the first.

    Args:
        scores: (B, L - h + 1, K); may be overwritten.
        lengths: words in each sentence (B,); windows past n - h + 1 do not count. None: all count.
        width: h.
    Returns:
        Values (B, K), and positions (B, K) int64.
    Example:
        >>> import torch
        >>> scores = torch.tensor([[[21.0], [32.0]], [[21.0], [32.0]]])
        >>> values, positions = best_windows(scores, lengths=torch.tensor([3, 2]), width=2)
        >>> values.tolist(), positions.tolist()  # two words hold one window of two
        ([[32.0], [21.0]], [[1], [0]])
    """
    if lengths is not None:
        windows = (lengths - width + 1).clamp(min=1)  # (B,)
        missing = torch.arange(scores.shape[1], device=scores.device) >= windows[:, None]  # (B, L - h + 1)
        # Added and not filled in: of the two only the sum runs vectorised along the filters, 3 times as fast.
        never = torch.zeros_like(missing, dtype=scores.dtype).masked_fill_(missing, -torch.inf)
        scores = scores.add_(never[:, :, None])
    # On other devices the pooling's derivative has no deterministic kernel; an exported graph cannot pool over any L.
    if scores.device.type != "cpu" or torch.compiler.is_exporting():
        highest = scores.max(dim=1)
        return highest.values, highest.indices
    # Pooling finds value and place in one vectorised pass; `max` with its indices takes several times as long.
    values, positions = F.max_pool2d(
        scores.transpose(1, 2)[:, :, None], (1, scores.shape[1]), return_indices=True
    )  # (B, K, 1, 1), (B, K, 1, 1)
    return values[:, :, 0, 0], positions[:, :, 0, 0]


def distinct_words(words: Words) -> Words:
    """Reduce the table to the words that occur, unless it is small already; the sentences stay the same.

    Args:
        words: table (V, E) and word numbers (B, L).
    Returns:
        A table (V', E) with V' <= V, and word numbers (B, L).
    Example:
        >>> import torch
        >>> few = distinct_words(Words(torch.arange(9.0)[:, None], torch.tensor([[7, 0, 7]])))
        >>> few.vectors.tolist(), few.tokens.tolist()
        ([[0.0], [7.0]], [[1, 0, 1]])
    """
    return words if _is_small(words) else _occurring_rows(words, _find_occurring(words))


def fastest_form(words: Words, filters: Sequence[FilterBank]) -> Sentences:
    """Choose between `convolve_words`, with the words that occur, and `convolve`, with the vector of every position.

    The table saves products, and sums h of them for each window. Where most words of a batch are distinct it loses.
    Measured on one thread with K = 128, both take as long where 0.4 of the words are distinct at E = 32, and 0.85 at
    E = 300.

    Args:
        words: table (V, E) and word numbers (B, L), L at least the widest window.
        filters: one bank for each width h, weight (K, h, E).
    Returns:
        The words as `distinct_words` gives them, or their vectors (B, L, E).
    Example:
        >>> import torch
        >>> filters = [FilterBank(torch.zeros(128, 4, 32), torch.zeros(128))]
        >>> tokens = torch.arange(5000).view(50, 100)
        >>> once, five_times = (Words(torch.zeros(6000, 32), numbers) for numbers in (tokens, tokens // 5))
        >>> isinstance(fastest_form(once, filters), Words), isinstance(fastest_form(five_times, filters), Words)
        (False, True)
    """
    if _is_small(words):
        return words
    occurs = _find_occurring(words)
    distinct = int(occurs.count_nonzero()) if _may_look_up(words) else 0
    if repeat_too_rarely(distinct, words.tokens.numel(), filters):
        return F.embedding(words.tokens, words.vectors)
    return words if distinct == len(words.vectors) else _occurring_rows(words, occurs)


def repeat_too_rarely(distinct: int, positions: int, filters: Sequence[FilterBank]) -> bool:
    """Tell whether `convolve` is the faster form for `positions` words, `distinct` of which are different ones."""
    num_filters, _, dim = filters[0].weight.shape
    rows = num_filters * sum(bank.weight.shape[1] for bank in filters)  # Σ K·h
    lost = distinct * (dim + SUM) - positions * dim * (1 + 1 / num_filters)  # 1 / K: a look-up serves all filters
    return lost * rows > LEAST_LOSS


def _may_look_up(words: Words) -> bool:
    """True where `convolve` can be the faster form: a GPU was not measured, in float64 the table wins in most cases."""
    vectors = words.vectors
    return vectors.device.type == "cpu" and vectors.dtype == torch.float32 and not torch.compiler.is_exporting()


def _is_small(words: Words) -> bool:
    """True where most words of a table (V, E) must occur, so that a search would cost as much as it saves."""
    return 4 * len(words.vectors) <= words.tokens.numel()


def _find_occurring(words: Words) -> Tensor:
    """Mark the rows of the table that occur, (V,)."""
    occurs = torch.zeros(len(words.vectors), dtype=torch.bool, device=words.tokens.device)
    occurs[words.tokens.flatten()] = True
    return occurs


def _occurring_rows(words: Words, occurs: Tensor) -> Words:
    """Reduce a table (V, E) to its marked rows, and number the words (B, L) anew."""
    numbers = occurs.cumsum(0) - 1  # (V,): a word's row among those that occur
    own = words.vectors.index_select(0, occurs.nonzero()[:, 0])  # copies whole rows, which vectors[occurs] does not
    return Words(own, numbers.index_select(0, words.tokens.flatten()).view_as(words.tokens))
