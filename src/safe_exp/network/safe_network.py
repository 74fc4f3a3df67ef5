"""SafeNetwork: owns the parameters and the forward pass; the arithmetic is `safe_exp.equations`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from safe_exp.equations.prediction import PredictorWeights
from safe_exp.equations.safe import SafeOutput, SafeWeights, safe_forward
from safe_exp.equations.text_cnn import TextCnnWeights
from safe_exp.equations.windows import FilterBank, Words

VARIANTS = ("safe", "text_only", "visual_only", "no_similarity", "similarity_only")


class Filters(nn.Module):
    """The K convolution filters of one window width."""

    def __init__(self, num_filters: int, width: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_filters, width, dim))
        self.bias = nn.Parameter(torch.empty(num_filters))
        initialise(self.weight, self.bias, fan_in=width * dim)


class TextCnn(nn.Module):
    """M_t or M_v: the parameters of one Text-CNN."""

    def __init__(self, dim: int, filter_sizes: Sequence[int], num_filters: int, feature_dim: int) -> None:
        super().__init__()
        self.filters = nn.ModuleList(Filters(num_filters, width, dim) for width in filter_sizes)
        self.project = nn.Linear(len(filter_sizes) * num_filters, feature_dim)
        initialise(self.project.weight, self.project.bias, fan_in=self.project.in_features)

    def weights(self) -> TextCnnWeights:
        banks = tuple(FilterBank(bank.weight, bank.bias) for bank in self.filters)
        return TextCnnWeights(banks, self.project.weight, self.project.bias)


class SafeNetwork(nn.Module):
    """SAFE or one of the paper's variants.

    `state_dict` keys: `predictor.weight` (2, 2D), `predictor.bias` (2), and for `text_encoder` and `visual_encoder`
    `.filters.<i>.weight` (K, h_i, E), `.filters.<i>.bias` (K), `.project.weight` (D, g·K), `.project.bias` (D).
    A variant lacks the parts that it does without; with one encoder the predictor's weight is (2, D).

    Args:
        text_dim, visual_dim: E and Ev, numbers in a word vector of the text and of the image's sentence.
        filter_sizes: H, window widths in words.
        num_filters: K, filters for each width.
        feature_dim: D, length of the feature vectors.
        variant: one of VARIANTS; `no_similarity` differs from `safe` in the loss alone (β = 0).
    Raises:
        ValueError: a size is below 1, H is empty, or the variant is unknown.
    """

    def __init__(
        self,
        text_dim: int,
        visual_dim: int,
        filter_sizes: Sequence[int],
        num_filters: int,
        feature_dim: int,
        variant: str = "safe",
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant={variant!r}: expected one of {', '.join(VARIANTS)}.")
        check_sizes(
            filter_sizes, text_dim=text_dim, visual_dim=visual_dim, num_filters=num_filters, feature_dim=feature_dim
        )
        self.variant = variant
        has_text, has_visual = variant != "visual_only", variant != "text_only"
        self.text_encoder = TextCnn(text_dim, filter_sizes, num_filters, feature_dim) if has_text else None
        self.visual_encoder = TextCnn(visual_dim, filter_sizes, num_filters, feature_dim) if has_visual else None
        self.predictor = None
        if variant != "similarity_only":
            self.predictor = nn.Linear((has_text + has_visual) * feature_dim, 2)
            initialise(self.predictor.weight, self.predictor.bias, fan_in=self.predictor.in_features)

    def forward(
        self,
        text: Tensor | Words | None,
        visual: Tensor | Words | None,
        text_lengths: Tensor | None = None,
        visual_lengths: Tensor | None = None,
    ) -> SafeOutput:
        """Features, verdict and similarity of a batch of articles; differentiable by autograd.

        Args:
            text: title and body as word vectors (B, L, E), or as `Words`, their numbers and a table; not read by
                `visual_only`.
            visual: the image's sentence (B, Lv, Ev) alike; not read by `text_only`.
            text_lengths, visual_lengths: words before the padding (B,), or None for all of L.
        Raises:
            ValueError: a shape does not fit; the message gives both.
        """
        output, _ = safe_forward(self.weights(), text, visual, text_lengths, visual_lengths)
        return output

    def weights(self) -> SafeWeights:
        """The parameters in the structure that `safe_exp.equations` reads."""
        return SafeWeights(
            text=self.text_encoder.weights() if self.text_encoder is not None else None,
            visual=self.visual_encoder.weights() if self.visual_encoder is not None else None,
            predictor=PredictorWeights(self.predictor.weight, self.predictor.bias)
            if self.predictor is not None
            else None,
        )


def initialise(weight: Tensor, bias: Tensor, fan_in: int) -> None:
    # Algorithm 1 says "randomly initialize" and no more; we take PyTorch's default for convolutions and linear maps.
    bound = fan_in**-0.5
    nn.init.uniform_(weight, -bound, bound)
    nn.init.uniform_(bias, -bound, bound)


def check_sizes(filter_sizes: Sequence[int], **sizes: int) -> None:
    if not filter_sizes:
        raise ValueError("filter_sizes is empty; give at least one window width, such as [3, 4].")
    for name, size in (*sizes.items(), *(("filter_sizes", width) for width in filter_sizes)):
        if size < 1:
            raise ValueError(f"{name}={size}: expected at least 1.")
