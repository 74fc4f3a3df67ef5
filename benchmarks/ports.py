"""SAFE and the released architecture as other ports write them: conv2d over (1, L, E), max-pool, and autograd."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from safe_exp.equations import SafeOutput


class PortedTextCnn(nn.Module):
    """Text-CNN by conv2d: word vectors (B, L, E) to features (B, D)."""

    def __init__(self, dim: int, filter_sizes: Sequence[int], num_filters: int, feature_dim: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(1, num_filters, (width, dim)) for width in filter_sizes)
        self.project = nn.Linear(len(filter_sizes) * num_filters, feature_dim)

    def forward(self, embedded: Tensor) -> Tensor:
        image = embedded[:, None]  # (B, 1, L, E)
        scores = [F.relu(convolution(image)).squeeze(3) for convolution in self.convolutions]  # (B, K, L - h + 1)
        pooled = [F.max_pool1d(score, score.shape[2]).squeeze(2) for score in scores]  # (B, K)
        return self.project(torch.cat(pooled, dim=1))  # (B, D)


class PortedSafe(nn.Module):
    """SAFE: word vectors of text (B, L, E) and image (B, Lv, E) to a `SafeOutput`."""

    def __init__(self, dim: int, filter_sizes: Sequence[int], num_filters: int, feature_dim: int) -> None:
        super().__init__()
        self.text_encoder = PortedTextCnn(dim, filter_sizes, num_filters, feature_dim)
        self.visual_encoder = PortedTextCnn(dim, filter_sizes, num_filters, feature_dim)
        self.predictor = nn.Linear(2 * feature_dim, 2)

    def forward(self, text: Tensor, visual: Tensor) -> SafeOutput:
        t, v = self.text_encoder(text), self.visual_encoder(visual)
        return _output(self.predictor(torch.cat([t, v], dim=1)), t, v)


class PortedReleased(nn.Module):
    """The released architecture: word vectors of headline, body and image, (B, L, E) each, to a `SafeOutput`."""

    def __init__(
        self, dim: int, word_dim: int, filter_sizes: Sequence[int], num_filters: int, feature_dim: int
    ) -> None:
        super().__init__()
        self.word_map = nn.Linear(dim, word_dim)
        self.channels = nn.ModuleList(PortedTextCnn(word_dim, filter_sizes, num_filters, feature_dim) for _ in range(3))
        self.predictor = nn.Linear(3 * feature_dim, 2)

    def forward(self, headline: Tensor, body: Tensor, visual: Tensor) -> SafeOutput:
        h, b, v = (
            channel(self.word_map(words))
            for channel, words in zip(self.channels, (headline, body, visual), strict=True)
        )
        return _output(self.predictor(torch.cat([h, b, v], dim=1)), torch.cat([h, b], dim=1), torch.cat([v, v], dim=1))


def _output(logits: Tensor, t: Tensor, v: Tensor) -> SafeOutput:
    """Join logits (B, 2) with the similarity of the features t and v, (B, D) each."""
    similarity = (1 + F.cosine_similarity(t, v, dim=1)) / 2
    return SafeOutput(t, v, logits, logits.softmax(dim=1)[:, 0], similarity)
