"""Exact contributions of the windows of words to the logit, and to the cosine of text and image.

Nothing is estimated. Max over time chooses one window for each filter, and from there to the logit SAFE is linear: with
u = W_p[0] - W_p[1], split into u_t and u_v,

    logit = ln ŷ/(1-ŷ) = Σ_k (W_tᵀ u_t)_k ĉ_k  +  Σ_k (W_vᵀ u_v)_k ĉ_k  +  u_t·b_t + u_v·b_v + b_p[0] - b_p[1]

so the contributions of the windows and the constant add up to it. Inside its window an active filter is linear too,
ĉ_k = Σ_j w_kj·x_{i+j} + b_k, which divides the window's contribution among its words.

The cosine is linear in one side's windows while the norms and the other side are held fixed:

    cos(t, v) = Σ_k (W_tᵀ v₀)_k ĉ_k / ‖t‖ + b_t·v₀ / ‖t‖,   and the same with t and v exchanged;

each side's parts add up to the whole cosine. A part is no forecast of leaving the words out: without that window ‖t‖
would change too.

The authors' released architecture has two channels for the text, t = h ⊕ b, and compares it with v ⊕ v: the sums have
one more term.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from safe_exp.equations.released import ReleasedCache
from safe_exp.equations.safe import SafeCache
from safe_exp.equations.text_cnn import TextCnnCache

Cache = SafeCache | ReleasedCache


class SideParts(NamedTuple):
    """Contributions of one encoder's windows to a quantity, for a batch of articles."""

    filters: Tensor  # (B, g·K): each filter's contribution, from its window
    starts: Tensor  # (B, g·K) int64: the window's first word
    ends: Tensor  # (B, g·K) int64: behind its last word; may reach past the end of a short passage
    words: Tensor  # (B, L): the same contributions, divided among the words; L at least the widest window
    filter_biases: Tensor  # (B,): contribution of the active filters' biases; with `words` it sums to `filters`


class Parts(NamedTuple):
    """A quantity (B,) as the sum of its parts: the constant and every filter of every side."""

    total: Tensor  # (B,)
    constant: Tensor  # (B,)
    sides: dict[str, SideParts]  # by encoder: text and image, or headline, body and image


def logit_parts(cache: Cache, encoders: Mapping[str, TextCnnCache]) -> Parts | None:
    """Split the logit ln ŷ/(1-ŷ) of fake (B,) among the windows of all encoders; None in SAFE\\W, which has no M_p.

    Computed in the dtype of the features, float32 at least.

    Args:
        cache: of the forward pass.
        encoders: of the same pass, as `Variant.encoders` returns them.
    """
    predictor = cache.weights.predictor
    if predictor is None:
        return None
    dtype = torch.promote_types(cache.features.dtype, torch.float32)
    weight, bias = predictor.weight.to(dtype), predictor.bias.to(dtype)
    direction = (weight[0] - weight[1]).expand(len(cache.features), -1)  # (B, 2D), or as many D as encoders: u
    return _parts(encoders, direction, bias[0] - bias[1])


def cosine_parts(cache: Cache, encoders: Mapping[str, TextCnnCache]) -> dict[str, Parts] | None:
    """Split cos(t, v) = 2s - 1 (B,) twice, among the windows of "text" and of "image"; None without both encoders.

    Args:
        cache: of the forward pass.
        encoders: of the same pass, as `Variant.encoders` returns them.
    """
    similarity = cache.similarity
    if similarity is None:
        return None
    texts = {name: encoder for name, encoder in encoders.items() if name != "image"}
    text_direction = similarity.visual_unit / similarity.text_norm  # (B, D): v₀/‖t‖; (B, 2D) for h ⊕ b
    image_direction = similarity.text_unit / similarity.visual_norm  # (B, D): t₀/‖v‖; (B, 2D) for v ⊕ v
    image_direction = image_direction.unflatten(1, (len(texts), -1)).sum(dim=1)  # (B, D): v, once for each text
    zero = text_direction.new_zeros(())
    image = {"image": encoders["image"]}
    return {"text": _parts(texts, text_direction, zero), "image": _parts(image, image_direction, zero)}


def _side_parts(cache: TextCnnCache, direction: Tensor) -> SideParts:
    """Split direction · (W ĉ) (B,) among the windows of one encoder.

    Args:
        cache: of `text_cnn_forward`.
        direction: (B, D), in the dtype to compute in.
    """
    dtype, weights = direction.dtype, cache.weights
    pull = direction @ weights.project_weight.to(dtype)  # (B, g·K): (Wᵀ direction)_k
    filters = pull * cache.pooled.to(dtype)  # (B, g·K)
    active = pull * (cache.pooled > 0)  # (B, g·K): a filter below zero adds nothing
    embedded = F.embedding(cache.words.tokens, cache.words.vectors).to(dtype)  # (B, L, E)
    words = embedded.new_zeros(embedded.shape[:2])  # (B, L)
    filter_biases = embedded.new_zeros(len(embedded))  # (B,)
    starts, ends = [], []
    num_filters = weights.filters[0].weight.shape[0]
    for bank, position, pulled in zip(weights.filters, cache.positions, active.split(num_filters, dim=1), strict=True):
        width = bank.weight.shape[1]
        for offset in range(width):  # one word of each window at a time: (B, K, E), and not (B, K, h, E)
            place = position + offset  # (B, K)
            word = embedded.gather(1, place[:, :, None].expand(-1, -1, embedded.shape[2]))  # (B, K, E)
            response = (word * bank.weight[:, offset].to(dtype)).sum(dim=2)  # (B, K): w_kj · x_{i+j}
            words.scatter_add_(1, place, pulled * response)
        filter_biases += pulled @ bank.bias.to(dtype)
        starts.append(position)
        ends.append(position + width)
    return SideParts(filters, torch.cat(starts, dim=1), torch.cat(ends, dim=1), words, filter_biases)


def mean_parts(parts: Sequence[Parts], lengths: Sequence[Mapping[str, Tensor]]) -> Parts:
    """Average a quantity over n models: the windows of all of them, each with an n-th of its contribution.

    The mean of linear parts is linear, so constant and contributions add up to the mean exactly.

    Args:
        parts: of the same articles by each model.
        lengths: words that each model reads of each article (B,), by encoder; models may cut texts at different places.
    """
    if len(parts) == 1:
        return parts[0]
    sides = {}
    for name in parts[0].sides:
        found = [each.sides[name] for each in parts]
        longest = max(side.words.shape[1] for side in found)
        ends = [torch.minimum(side.ends, each[name][:, None]) for side, each in zip(found, lengths, strict=True)]
        sides[name] = SideParts(
            torch.cat([side.filters for side in found], dim=1) / len(found),
            torch.cat([side.starts for side in found], dim=1),
            torch.cat(ends, dim=1),
            _mean([F.pad(side.words, (0, longest - side.words.shape[1])) for side in found]),
            _mean([side.filter_biases for side in found]),
        )
    return Parts(_mean([each.total for each in parts]), _mean([each.constant for each in parts]), sides)


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean(dim=0)


class Phrase(NamedTuple):
    """A window that at least one filter chose, and the contribution of all filters that chose it."""

    start: int  # its first word
    end: int  # behind its last word; a passage shorter than the window ends it
    contribution: float


def list_phrases(side: SideParts, article: int, length: int) -> list[Phrase]:
    """List the windows of one article, the strongest first, equal strengths by position.

    Args:
        article: its row in the batch.
        length: number of its words; what reaches past them is padding.
    """
    found: dict[tuple[int, int], float] = {}
    rows = zip(side.starts[article].tolist(), side.ends[article].tolist(), side.filters[article].tolist(), strict=True)
    for start, end, contribution in rows:
        span = min(start, length), min(end, length)
        found[span] = found.get(span, 0.0) + contribution
    phrases = [Phrase(*span, contribution) for span, contribution in found.items()]
    return sorted(phrases, key=lambda phrase: (-abs(phrase.contribution), phrase.start, phrase.end))


def _parts(encoders: Mapping[str, TextCnnCache], direction: Tensor, constant: Tensor) -> Parts:
    """Split direction · features + constant among the windows of n encoders.

    Args:
        encoders: n of them, in the order in which their features are joined.
        direction: (B, n·D).
        constant: ().
    """
    constant = constant.expand(len(direction))  # (B,)
    sides = {}
    for (name, encoder), piece in zip(encoders.items(), direction.chunk(len(encoders), dim=1), strict=True):
        sides[name] = _side_parts(encoder, piece)
        constant = constant + piece @ encoder.weights.project_bias.to(piece.dtype)
    total = constant + sum(side.filters.sum(dim=1) for side in sides.values())
    return Parts(total, constant, sides)
