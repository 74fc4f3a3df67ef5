"""What travels from the data to the network: one batch of articles, as every later stage sees it."""

from typing import NamedTuple

from torch import Tensor


class NewsBatch(NamedTuple):
    """A batch of articles. The class index, stated here for the whole project: 1 = fake, 0 = real, as in the paper."""

    text_tokens: (
        Tensor  # (B, L_text)   int64, word indices, 0 = padding; L_text: this batch's longest text, or a little more
    )
    visual_tokens: Tensor  # (B, L_visual) int64, the sentence made from the image
    text_lengths: Tensor  # (B,)         int64, words before the padding
    visual_lengths: Tensor  # (B,)       int64
    label: Tensor  # (B,)                int64, 1 = fake, 0 = real
    index: Tensor  # (B,)                int64, row of the article in the data module's `articles`
    title_lengths: Tensor  # (B,)        int64, so many of the text's words are its title's
