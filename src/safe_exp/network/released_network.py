"""ReleasedNetwork: the architecture of the authors' released code; its arithmetic is `safe_exp.equations.released`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from safe_exp.equations.prediction import PredictorWeights
from safe_exp.equations.released import ReleasedWeights, released_forward
from safe_exp.equations.safe import SafeOutput
from safe_exp.equations.windows import Sentences
from safe_exp.network.safe_network import TextCnn, check_sizes, initialise


class ReleasedNetwork(nn.Module):
    """Headline, body and image's sentence behind one shared linear map.

    `state_dict` keys: `word_map.weight` (M, E), `predictor.weight` (2, 3D), `predictor.bias` (2), and for
    `text_encoder.headline`, `text_encoder.body` and `visual_encoder` those of a Text-CNN over words of M numbers:
    `.filters.<i>.weight` (K, h_i, M), `.filters.<i>.bias` (K), `.project.weight` (D, g·K), `.project.bias` (D).

    Args:
        vector_dim: E, numbers in a word vector.
        word_dim: M, numbers that each is mapped to; the released code's 32.
        filter_sizes, num_filters, feature_dim: as in SafeNetwork.
    Raises:
        ValueError: a size is below 1, or H is empty.
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
    ) -> SafeOutput:
        """Features, verdict and similarity of a batch of articles; arguments as in `released_forward`."""
        output, _ = released_forward(
            self.weights(), headline, body, visual, headline_lengths, body_lengths, visual_lengths
        )
        return output

    def weights(self) -> ReleasedWeights:
        """The parameters in the structure that `safe_exp.equations.released` reads."""
        return ReleasedWeights(
            self.word_map.weight,
            self.text_encoder["headline"].weights(),
            self.text_encoder["body"].weights(),
            self.visual_encoder.weights(),
            PredictorWeights(self.predictor.weight, self.predictor.bias),
        )


def split_title(
    text: Tensor, lengths: Tensor, title_lengths: Tensor, headline_words: int, body_words: int
) -> dict[str, Tensor]:
    """A text of title and body as the two sentences that ReleasedNetwork reads.

    Args:
        text: word numbers, the title's first, (B, L).
        lengths: words in each text (B,).
        title_lengths: how many of them are the title's (B,); the others are the body's.
        headline_words, body_words: longer ones are cut.
    Returns:
        `headline` (B, ≤ headline_words), `body` (B, ≤ body_words), `headline_lengths` and `body_lengths` (B,).
    """
    length = text.shape[1]
    title_lengths = title_lengths.minimum(lengths)  # a title may fill all that a text was cut to
    places = title_lengths[:, None] + torch.arange(min(body_words, length), device=text.device)  # (B, Lb)
    return {
        "headline": text[:, :headline_words],
        "headline_lengths": title_lengths.clamp(max=headline_words),
        "body": text.gather(1, places.clamp(max=max(length - 1, 0))),
        "body_lengths": (lengths - title_lengths).clamp(max=body_words),
    }
