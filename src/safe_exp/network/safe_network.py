"""SafeNetwork: SAFE's parameters and forward pass; the arithmetic is `safe_exp.equations`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from safe_exp.equations.dropout import DropoutMasks
from safe_exp.equations.prediction import PredictorWeights
from safe_exp.equations.safe import SafeOutput, SafeWeights, safe_forward
from safe_exp.equations.text_cnn import TextCnnWeights
from safe_exp.equations.windows import FilterBank, Sentences

VARIANTS = ("safe", "text_only", "visual_only", "no_similarity", "similarity_only")


class _Filters(nn.Module):
    """The K filters of one window width h: weight (K, h, E), bias (K,)."""

    def __init__(self, num_filters: int, width: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_filters, width, dim))
        self.bias = nn.Parameter(torch.empty(num_filters))
        initialise(self.weight, self.bias, fan_in=width * dim)


class TextCnn(nn.Module):
    """M_t or M_v: the parameters of one Text-CNN, for words of `dim` numbers."""

    def __init__(self, dim: int, filter_sizes: Sequence[int], num_filters: int, feature_dim: int) -> None:
        super().__init__()
        self.filters = nn.ModuleList(_Filters(num_filters, width, dim) for width in filter_sizes)
        self.project = nn.Linear(len(filter_sizes) * num_filters, feature_dim)
        initialise(self.project.weight, self.project.bias, fan_in=self.project.in_features)

    def weights(self) -> TextCnnWeights:
        """The parameters in the structure that `safe_exp.equations.text_cnn` reads."""
        filters = cast("Iterable[_Filters]", self.filters)  # a ModuleList is typed as modules of any kind
        banks = tuple(FilterBank(bank.weight, bank.bias) for bank in filters)
        return TextCnnWeights(banks, self.project.weight, self.project.bias)


class SafeNetwork(nn.Module):
    """SAFE or one of the paper's variants.

    `state_dict` keys: `predictor.weight` (2, 2D), `predictor.bias` (2), and for `text_encoder` and `visual_encoder`
    `.filters.<i>.weight` (K, h_i, E), `.filters.<i>.bias` (K), `.project.weight` (D, g·K), `.project.bias` (D).
    A variant has no parameters for a part that it does without; with one encoder the predictor's weight is (2, D).

    Args:
        text_dim, visual_dim: E and Ev, numbers in a word vector of the text and of the image's sentence.
        filter_sizes: H, window widths in words.
        num_filters: K, filters for each width.
        feature_dim: D, length of the feature vectors.
        variant: one of VARIANTS; `no_similarity` differs from `safe` in the loss alone (β = 0).
    Raises:
        ValueError: a size is below 1, H is empty, or the variant is unknown.
    Example:
        >>> import torch
        >>> net = SafeNetwork(text_dim=5, visual_dim=6, filter_sizes=[3, 4], num_filters=2, feature_dim=7)
        >>> net.predictor.weight.shape, net.text_encoder.project.weight.shape  # (2, 2D) and (D, g·K)
        (torch.Size([2, 14]), torch.Size([7, 4]))
        >>> out = net(text=torch.rand(8, 12, 5), visual=torch.rand(8, 9, 6), text_lengths=torch.arange(8) + 5)
        >>> out.text_features.shape, out.logits.shape, out.probability.shape, out.similarity.shape
        (torch.Size([8, 7]), torch.Size([8, 2]), torch.Size([8]), torch.Size([8]))
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
        text: Sentences | None,
        visual: Sentences | None,
        text_lengths: Tensor | None = None,
        visual_lengths: Tensor | None = None,
        masks: DropoutMasks | None = None,
    ) -> SafeOutput:
        """Compute features, verdict and similarity of a batch of articles; differentiable by autograd.

        Args:
            text: title and body as word vectors (B, L, E), or as `Words`, their numbers and a table; not read by
                `visual_only`, and possibly None there.
            visual: the sentence that describes the image, (B, Lv, Ev) or `Words`; not read by `text_only`.
            text_lengths, visual_lengths: words before the padding (B,), or None for all of L.
            masks: of a training step's dropout; None: it is off.
        Returns:
            t and v (B, D), logits (B, 2), ŷ and s (B,).
        Raises:
            ValueError: a shape does not fit, and the message gives both; or sentences that are read are None.
        """
        output, _ = safe_forward(self.weights(), text, visual, text_lengths, visual_lengths, masks)
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
    """Draw a weight and a bias of any shape, in place, uniformly from ±1/√fan_in."""
    # Algorithm 1 says "randomly initialize" and no more; we take PyTorch's default for convolutions and linear maps.
    bound = fan_in**-0.5
    nn.init.uniform_(weight, -bound, bound)
    nn.init.uniform_(bias, -bound, bound)


def check_sizes(filter_sizes: Sequence[int], **sizes: int) -> None:
    """Refuse sizes that no network can have.

    Raises:
        ValueError: H is empty, or a size or width is below 1; the message names it.
    """
    if not filter_sizes:
        raise ValueError("filter_sizes is empty; give at least one window width, such as [3, 4].")
    for name, size in (*sizes.items(), *(("filter_sizes", width) for width in filter_sizes)):
        if size < 1:
            raise ValueError(f"{name}={size}: expected at least 1.")
