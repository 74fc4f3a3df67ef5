"""NewsBatch: one batch of articles, as every stage behind the data sees it."""

from typing import NamedTuple

from torch import Tensor


class NewsBatch(NamedTuple):
    """A batch of B articles. The class index, stated here for the whole project: 1 = fake, 0 = real, as in the paper.

    L_text and L_visual are the lengths of the batch's longest text and sentence, on a GPU rounded up (see encoded.py).
    A sentence is word numbers, or the vectors themselves where these depend on more than the word.
    """

    text_tokens: Tensor  # (B, L_text) int64, word numbers, 0 = padding; or (B, L_text, E) float32, zeros = padding
    visual_tokens: Tensor  # (B, L_visual) int64, the sentence made from the image; or (B, L_visual, Ev) float32
    text_lengths: Tensor  # (B,) int64, words before the padding
    visual_lengths: Tensor  # (B,) int64
    label: Tensor  # (B,) int64, 1 = fake, 0 = real
    index: Tensor  # type: ignore[assignment]  # (B,) int64, row in the data set; hides tuple.index, which nobody calls
    title_lengths: Tensor  # (B,) int64, number of the text's words that belong to its title
