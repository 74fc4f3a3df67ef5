"""M_t and M_v, the Text-CNN: convolution, ReLU, max over time, projection; forward, and backward by Eqs. (16), (17).

Max over time keeps one window for each filter and article, so only that window carries gradient. The backward pass
reads those windows straight from the word vectors and costs a small part of the forward pass.

A sentence, as in Kim 2014, is a sequence of words: an article's text, or the sentence that describes its image.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .dropout import apply_mask
from .windows import FilterBank, Sentences, Words, best_windows, convolve, convolve_words, fastest_form


class TextCnnWeights(NamedTuple):
    """θ_t or θ_v, or the gradient with respect to it."""

    filters: tuple[FilterBank, ...]  # one bank for each width in H
    project_weight: Tensor  # (D, g·K), columns in the order of the filters; the paper's W_t
    project_bias: Tensor  # (D,), the paper's b_t


class TextCnnCache(NamedTuple):
    """Values of the forward pass that `text_cnn_backward` reads."""

    words: Words  # the sentences, L at least the widest window; word vectors given as such are a table of B·L rows
    positions: tuple[Tensor, ...]  # (B, K) for each width: î, where the filter's best window begins
    pooled: Tensor  # (B, g·K): ĉ, the best window's value after ReLU, times the mask if there is one
    weights: TextCnnWeights
    mask: Tensor | None = None  # (B, g·K): dropout of ĉ


def text_cnn_forward(
    sentences: Sentences, weights: TextCnnWeights, lengths: Tensor | None = None, mask: Tensor | None = None
) -> tuple[Tensor, TextCnnCache]:
    """Encode a batch of sentences as feature vectors: c^i = ReLU(w · x^{i:i+h-1} + b), ĉ = max over i, W ĉ + b.

    Source: Zhou, Wu & Zafarani 2020 (SAFE), the function that Eqs. (16)-(17) differentiate; Kim 2014 for the Text-CNN.
    Windows that begin past n - h + 1 do not exist, so neither padding nor batch mates change a result. A sentence
    shorter than h is padded with zero vectors to h and has one window. The max is taken before bias and ReLU, which are
    monotone: the value is the same, and a K · (n - h + 1) times smaller array goes through them.

    Args:
        sentences: word vectors (B, L, E), or word numbers (B, L) and their table (V, E); nothing past a sentence's
            length is read.
        weights: one bank of filters for each width, and the projection.
        lengths: n, words in each sentence (B,); None: all of L.
        mask: ĉ is multiplied by it before the projection, (B, g·K); None: dropout is off.
    Returns:
        Features (B, D), and the cache that `text_cnn_backward` reads.
    Raises:
        ValueError: the word vectors are not (B, L, E) with the filters' E, or `lengths` is not (B,).
    Example:
        >>> import torch
        >>> bank = FilterBank(weight=torch.tensor([[[1.0], [10.0]]]), bias=torch.tensor([-30.0]))  # K = 1, h = 2, E = 1
        >>> weights = TextCnnWeights((bank,), project_weight=torch.tensor([[2.0], [1.0]]), project_bias=torch.zeros(2))
        >>> features, cache = text_cnn_forward(torch.tensor([[[1.0], [2.0], [3.0]]]), weights)
        >>> cache.positions[0].tolist(), cache.pooled.tolist()  # scores 21 and 32; ReLU(32 - 30)
        ([[1]], [[2.0]])
        >>> features.tolist()
        [[4.0, 2.0]]
    """
    check_shapes(sentences, weights.filters[0].weight.shape[2], lengths)
    sentences, lengths = pad_sentences(sentences, lengths, weights.filters)
    if isinstance(sentences, Words):
        sentences = fastest_form(sentences, weights.filters)
    return encode_padded(sentences, lengths, weights, mask)


def pad_sentences(
    sentences: Sentences, lengths: Tensor | None, filters: tuple[FilterBank, ...]
) -> tuple[Sentences, Tensor | None]:
    """Pad sentences to the widest window with zeros that change nothing.

    Args:
        sentences: word vectors (B, L, E), or word numbers (B, L) and their table (V, E).
        lengths: words in each sentence (B,); None: all of L.
        filters: one bank for each width h, weight (K, h, E).
    Returns:
        The sentences with L at least the widest window and zeros past each length, and the lengths (B,), or None where
        every sentence fills its row.
    Example:
        >>> import torch
        >>> bank = FilterBank(torch.ones(1, 3, 1), torch.zeros(1))  # h = 3
        >>> embedded = torch.tensor([[[5.0], [7.0]], [[5.0], [7.0]]])
        >>> padded, _ = pad_sentences(embedded, torch.tensor([2, 1]), (bank,))
        >>> padded.squeeze(2).tolist()
        [[5.0, 7.0, 0.0], [5.0, 0.0, 0.0]]
    """
    widest = max(bank.weight.shape[1] for bank in filters)
    if not isinstance(sentences, Words):
        return _padded(sentences, lengths, least=widest)
    tokens, lengths = _padded(sentences.tokens, lengths, least=widest)
    return Words(sentences.vectors, tokens), lengths


def encode_padded(
    sentences: Sentences, lengths: Tensor | None, weights: TextCnnWeights, mask: Tensor | None = None
) -> tuple[Tensor, TextCnnCache]:
    """Encode the result of `pad_sentences` as `text_cnn_forward` does: features (B, D), and the cache."""
    if isinstance(sentences, Words):
        words, scores = sentences, convolve_words(sentences, weights.filters)
    else:
        words, scores = as_table(sentences), convolve(sentences, weights.filters)
    positions, pooled = pool(scores, lengths, weights.filters)
    pooled = apply_mask(pooled, mask)
    features = F.linear(pooled, weights.project_weight, weights.project_bias)  # (B, D)
    return features, TextCnnCache(words, positions, pooled, weights, mask)


def pool(
    width_scores: Iterable[Tensor], lengths: Tensor | None, filters: tuple[FilterBank, ...]
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Apply max over time, bias and ReLU.

    Args:
        width_scores: (B, L - h + 1, K) for each width; may be overwritten.
        lengths: words in each sentence (B,); None: all of L.
        filters: the bank of each width, bias (K,).
    Returns:
        î, (B, K) for each width, and ĉ, (B, g·K).
    """
    values, positions = [], []
    for bank, scores in zip(filters, width_scores, strict=True):  # scores: (B, L - h + 1, K)
        value, position = best_windows(scores, lengths, width=bank.weight.shape[1])  # (B, K), (B, K)
        values.append(value + bank.bias)
        positions.append(position)
    return tuple(positions), torch.cat(values, dim=1).relu()


def text_cnn_backward(d_features: Tensor, cache: TextCnnCache) -> TextCnnWeights:
    """Carry ∂L/∂t (B, D) back to every weight of the encoder, summed over the batch: Eqs. (16) and (17).

    Under dropout ĉ in Eq. (16) is the masked one, and (W_{:,k})ᵀ B in Eq. (17) is multiplied by the mask of ĉ_k.

    Example:
        >>> import torch
        >>> bank = FilterBank(weight=torch.tensor([[[1.0], [10.0]]]), bias=torch.tensor([-30.0]))
        >>> weights = TextCnnWeights((bank,), project_weight=torch.tensor([[2.0], [1.0]]), project_bias=torch.zeros(2))
        >>> _, cache = text_cnn_forward(torch.tensor([[[1.0], [2.0], [3.0]]]), weights)  # ĉ = 2, in the window 2, 3
        >>> (d_bank,), d_weight, d_bias = text_cnn_backward(torch.tensor([[1.0, 1.0]]), cache)
        >>> d_weight.tolist(), d_bias.tolist()  # ĉ B and B
        ([[2.0], [2.0]], [1.0, 1.0])
        >>> d_bank.weight.tolist(), d_bank.bias.tolist()  # Wᵀ B = 3, times the window
        ([[[6.0], [9.0]]], [3.0])
    """
    d_project_weight, d_project_bias = projection_backward(d_features, cache.pooled)
    d_scores = d_features @ cache.weights.project_weight  # (B, g·K): (W_{:,k})ᵀ B of Eq. (17)
    # The printed Eq. (17) leaves out ReLU's derivative; where ĉ = 0 no window is active and nothing flows back.
    d_scores = apply_mask(d_scores * (cache.pooled > 0), cache.mask)
    widths = [bank.weight.shape[1] for bank in cache.weights.filters]
    d_filters = filters_backward(d_scores, cache.positions, cache.words, widths)
    return TextCnnWeights(d_filters, d_project_weight, d_project_bias)


def projection_backward(d_features: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the projection's gradient, Eq. (16): ĉ_k B for column k of W, B for the bias; summed over the batch.

    The paper writes ĉ as a diagonal matrix D_t. Inside its loop over h_k that matrix scales column k of W by ĉ_k.

    Args:
        d_features: B of Eq. (18), (B, D).
        pooled: ĉ, (B, g·K).
    Returns:
        Gradients of `project.weight` (D, g·K) and `project.bias` (D,).
    Example:
        >>> import torch
        >>> d_weight, d_bias = projection_backward(torch.tensor([[1.0, -1.0]]), pooled=torch.tensor([[2.0, 4.0, 3.0]]))
        >>> d_weight.tolist(), d_bias.tolist()
        ([[2.0, 4.0, 3.0], [-2.0, -4.0, -3.0]], [1.0, -1.0])
    """
    return d_features.T @ pooled, d_features.sum(dim=0)


def filters_backward(
    d_scores: Tensor, positions: tuple[Tensor, ...], words: Words, widths: list[int]
) -> tuple[FilterBank, ...]:
    """Compute the filters' gradients, Eq. (17): (W_{:,k}ᵀ B) x^{î:î+h-1}, and W_{:,k}ᵀ B for the bias.

    Both are summed over the batch. Row j of filter k's gradient is a weighted sum of B word vectors, the ones at î + j.
    `embedding_bag` sums them where they lie: gathering the windows first would write B·K·h·E numbers, at ten times the
    cost.

    Args:
        d_scores: ∂L/∂(w · x + b) at each filter's best window, (B, g·K).
        positions: î, (B, K) for each width.
        words: the sentences as the forward pass saw them, table (V, E) and word numbers (B, L). Further sentences may
            follow; î counts on into them, where filters read other sentences than their neighbours.
        widths: H.
    Returns:
        For each width the gradients of the bank's weight (K, h, E) and bias (K,).
    Example:
        >>> import torch
        >>> words = Words(torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([[1, 2, 3]]))
        >>> (bank,) = filters_backward(torch.tensor([[3.0]]), positions=(torch.tensor([[1]]),), words=words, widths=[2])
        >>> bank.weight.tolist(), bank.bias.tolist()  # 3 times the window 2, 3
        ([[[6.0], [9.0]]], [3.0])
    """
    (batch, num_filters), length, dim = positions[0].shape, words.tokens.shape[1], words.vectors.shape[1]
    # Integers of 32 bits, and sentences side by side before anything is repeated: at E = 32 finding the rows takes
    # longer than summing them.
    starts = torch.cat(positions, dim=1).T.int().contiguous()  # (g·K, B)
    d_starts = d_scores.T.contiguous()  # (g·K, B): ∂L/∂score of the window that begins there
    place = torch.arange(max(widths), device=starts.device, dtype=torch.int32)[:, None]
    begin = torch.arange(0, batch * length, length, device=starts.device, dtype=torch.int32)  # of each sentence
    places = place + begin  # (h of the widest, B): word j of a window stands there among all B·L, plus î
    window_places, row_weights = [], []
    for width, start, d_bank in zip(widths, starts.split(num_filters), d_starts.split(num_filters), strict=True):
        window_places.append((start[:, None] + places[:width]).flatten())  # (K·h·B,)
        row_weights.append(d_bank[:, None].expand(num_filters, width, batch).flatten(0, 1))  # (K·h, B)
    rows = words.tokens.flatten().int().index_select(0, torch.cat(window_places))  # (Σ K·h·B,)
    # Sums of bfloat16 terms are kept in float32; float32 and float64 stay what they are.
    dtype = torch.promote_types(d_scores.dtype, torch.float32)
    d_rows = F.embedding_bag(
        rows.view(-1, batch),
        words.vectors.to(dtype),
        per_sample_weights=torch.cat(row_weights).to(dtype),
        mode="sum",
    ).to(d_scores.dtype)  # (Σ K·h, E)
    d_weights = d_rows.split([num_filters * width for width in widths])
    d_biases = d_scores.sum(dim=0).split(num_filters)
    return tuple(
        FilterBank(d_weight.view(num_filters, width, dim), d_bias)
        for d_weight, d_bias, width in zip(d_weights, d_biases, widths, strict=True)
    )


def check_shapes(sentences: Sentences, dim: int, lengths: Tensor | None) -> None:
    """Refuse word vectors that are not (B, L, `dim`), and lengths that are not (B,).

    Raises:
        ValueError: the message gives the shape that was found and the one expected.
    """
    found: tuple[int, ...]
    if isinstance(sentences, Words):
        batch, found = sentences.tokens.shape[0], (*sentences.tokens.shape, sentences.vectors.shape[-1])
    else:
        batch, found = sentences.shape[0], tuple(sentences.shape)
    if len(found) != 3 or found[2] != dim:
        raise ValueError(f"word vectors have shape {found}; the filters expect (B, L, {dim}).")
    if lengths is not None and lengths.shape != (batch,):
        raise ValueError(f"lengths have shape {tuple(lengths.shape)}; expected ({batch},), one per article.")


def _padded(sentences: Tensor, lengths: Tensor | None, least: int) -> tuple[Tensor, Tensor | None]:
    """Make L at least `least`, so that the widest window fits once, and zero everything past each length.

    Args:
        sentences: word vectors (B, L, E) or numbers (B, L).
        lengths: words in each sentence (B,); None: all of L.
    Returns:
        The same shape with L >= `least`, and the lengths (B,), or None where every sentence fills its row.
    """
    batch, length = sentences.shape[:2]
    # Without lengths nothing need be masked. On a GPU reading the answer would wait for the device, so it is not read;
    # nor is it in an exported graph (torch.export), which holds for all lengths.
    if (
        lengths is not None
        and lengths.device.type == "cpu"
        and not torch.compiler.is_exporting()
        and bool((lengths >= length).all())
    ):
        lengths = None
    if lengths is None and length < least:
        # The rows appended for the widest filter must not open further windows for the narrower ones.
        lengths = torch.full((batch,), length, device=sentences.device)  # (B,)
    if lengths is not None:
        # Whatever stands there (even NaN) must not reach the one window of a sentence shorter than h.
        padding = torch.arange(length, device=sentences.device) >= lengths[:, None]  # (B, L)
        sentences = sentences.masked_fill(padding.view(*padding.shape, *[1] * (sentences.dim() - 2)), 0)
    if length < least:
        sentences = F.pad(sentences, (0, 0) * (sentences.dim() - 2) + (0, least - length))  # (B, least) or (…, E)
    return sentences, lengths


def as_table(embedded: Tensor) -> Words:
    """Lay out word vectors (B, L, E) as a table (B·L, E) with a row for each position, and word numbers (B, L).

    Example:
        >>> import torch
        >>> as_table(torch.tensor([[[5.0], [7.0]]])).tokens.tolist()
        [[0, 1]]
    """
    batch, length = embedded.shape[:2]
    return Words(embedded.flatten(0, 1), torch.arange(batch * length, device=embedded.device).view(batch, length))
