"""NewsBatch: one batch of articles, as every stage behind the data sees it."""

from __future__ import annotations

from typing import NamedTuple

import torch
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
    weight: Tensor | None = None  # (B,) float32, of each article in the training loss; None: all weigh alike

    def to(self, device: torch.device | str) -> NewsBatch:
        """Return a copy on `device`, without waiting for it."""
        return NewsBatch(*(None if part is None else part.to(device, non_blocking=True) for part in self))
