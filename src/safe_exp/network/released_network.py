"""ReleasedNetwork: the architecture of the authors' released code; the arithmetic is `safe_exp.equations.released`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from safe_exp.equations.dropout import DropoutMasks
from safe_exp.equations.prediction import PredictorWeights
from safe_exp.equations.released import ReleasedWeights, released_forward
from safe_exp.equations.safe import SafeOutput
from safe_exp.equations.windows import Sentences
from safe_exp.network.safe_network import TextCnn, check_sizes, initialise


class ReleasedNetwork(nn.Module):
    """Three Text-CNNs, for headline, body and the sentence of the image, behind one shared linear map of the words.

    `state_dict` keys: `word_map.weight` (M, E), `predictor.weight` (2, 3D), `predictor.bias` (2), and for
    `text_encoder.headline`, `text_encoder.body` and `visual_encoder` those of a Text-CNN over words of M numbers:
    `.filters.<i>.weight` (K, h_i, M), `.filters.<i>.bias` (K), `.project.weight` (D, g·K), `.project.bias` (D).

    Args:
        vector_dim: E, numbers in a word vector.
        word_dim: M, numbers in a mapped word vector; 32 in the released code.
        filter_sizes, num_filters, feature_dim: as in SafeNetwork.
    Raises:
        ValueError: a size is below 1, or H is empty.
    Example:
        >>> import torch
        >>> net = ReleasedNetwork(vector_dim=6, word_dim=3, filter_sizes=[2, 3], num_filters=2, feature_dim=4)
        >>> net.word_map.weight.shape, net.predictor.weight.shape  # (M, E) and (2, 3D)
        (torch.Size([3, 6]), torch.Size([2, 12]))
        >>> out = net(headline=torch.rand(8, 5, 6), body=torch.rand(8, 20, 6), visual=torch.rand(8, 7, 6))
        >>> out.text_features.shape, out.visual_features.shape, out.probability.shape
        (torch.Size([8, 8]), torch.Size([8, 4]), torch.Size([8]))
    """

    def __init__(
        self, vector_dim: int, word_dim: int, filter_sizes: Sequence[int], num_filters: int, feature_dim: int
    ) -> None:
        super().__init__()
        check_sizes(
            filter_sizes, vector_dim=vector_dim, word_dim=word_dim, num_filters=num_filters, feature_dim=feature_dim
        )
        self.word_map = nn.Linear(vector_dim, word_dim, bias=False)
        shape = word_dim, filter_sizes, num_filters, feature_dim
        self.text_encoder = nn.ModuleDict({"headline": TextCnn(*shape), "body": TextCnn(*shape)})
        self.visual_encoder = TextCnn(*shape)
        self.predictor = nn.Linear(3 * feature_dim, 2)
        initialise(self.predictor.weight, self.predictor.bias, fan_in=self.predictor.in_features)

    def forward(
        self,
        headline: Sentences,
        body: Sentences,
        visual: Sentences,
        headline_lengths: Tensor | None = None,
        body_lengths: Tensor | None = None,
        visual_lengths: Tensor | None = None,
        masks: DropoutMasks | None = None,
    ) -> SafeOutput:
        """Compute features, verdict and similarity of a batch of articles; differentiable by autograd.

        Args:
            headline, body, visual: word vectors (B, L, E), each with its own L, or `Words`: their numbers and a table.
            headline_lengths, body_lengths, visual_lengths: words in each sentence (B,), or None for all of L.
            masks: of a training step's dropout; None: it is off.
        Returns:
            h ⊕ b (B, 2D), v (B, D), logits (B, 2), ŷ and s (B,).
        Raises:
            ValueError: a shape does not fit; the message gives both.
        """
        output, _ = released_forward(
            self.weights(), headline, body, visual, headline_lengths, body_lengths, visual_lengths, masks
        )
        return output

    def weights(self) -> ReleasedWeights:
        """The parameters in the structure that `safe_exp.equations.released` reads."""
        text_encoder = cast("Mapping[str, TextCnn]", self.text_encoder)  # a ModuleDict is typed as modules of any kind
        return ReleasedWeights(
            self.word_map.weight,
            text_encoder["headline"].weights(),
            text_encoder["body"].weights(),
            self.visual_encoder.weights(),
            PredictorWeights(self.predictor.weight, self.predictor.bias),
        )


def split_title(
    text: Tensor, lengths: Tensor, title_lengths: Tensor, headline_words: int, body_words: int
) -> dict[str, Tensor]:
    """Split texts into headline and body, the two sentences that ReleasedNetwork reads.

    Args:
        text: word numbers (B, L) or vectors (B, L, E), the title's first.
        lengths: words in each text (B,).
        title_lengths: words of the title, with which the text begins, (B,); the others are the body's.
        headline_words, body_words: longer headlines and bodies are cut.
    Returns:
        `headline` (B, ≤ headline_words), `body` (B, ≤ body_words), `headline_lengths` and `body_lengths` (B,); vectors
        have a last axis E.
    Example:
        >>> import torch
        >>> text, lengths, title_lengths = torch.tensor([[7, 8, 9, 5, 6]]), torch.tensor([5]), torch.tensor([3])
        >>> split = split_title(text, lengths, title_lengths, headline_words=2, body_words=4)  # 9 is cut off the title
        >>> split["headline"].tolist(), split["body"][:, : split["body_lengths"].item()].tolist()
        ([[7, 8]], [[5, 6]])
    """
    length = text.shape[1]
    title_lengths = title_lengths.minimum(lengths)  # a title may fill all that a text was cut to
    places = title_lengths[:, None] + torch.arange(min(body_words, length), device=text.device)  # (B, Lb)
    places = places.clamp(max=max(length - 1, 0))
    if text.dim() == 3:
        places = places[:, :, None].expand(-1, -1, text.shape[2])  # (B, Lb, E)
    return {
        "headline": text[:, :headline_words],
        "headline_lengths": title_lengths.clamp(max=headline_words),
        "body": text.gather(1, places),
        "body_lengths": (lengths - title_lengths).clamp(max=body_words),
    }
