"""How an article's image becomes the sentence V that the network reads: one interface, whoever looks at it."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from safe_exp.config.captioner import BlipConfig, CaptionerConfig, VisualWordsConfig


class ImageCaptioner(Protocol):
    """Looks at decoded pictures (RGB, see data/reading/images.py) and says what it sees."""

    settings: dict[str, Any]  # plain values: all that shapes its result; part of fingerprints and of the cache's key
    batch_size: int  # pictures that it is given at a time, at most

    def describe(self, images: Sequence[Image.Image]) -> list[str] | list[np.ndarray]:
        """One result for each picture: a sentence, or (P, F) float32 descriptors that a codebook turns into words."""


def build_image_captioner(config: CaptionerConfig) -> ImageCaptioner | None:
    """The captioner that `captioner=…` asks for; None for `file`, whose sentence lies beside the article.

    Raises:
        UserError: its model cannot be found. A model is loaded when the first picture is described, so that a run
            whose pictures are all in the cache needs none.
    """
    # scikit-image and transformers take seconds to import, and most runs need neither.
    if isinstance(config, VisualWordsConfig):
        from safe_exp.data.captioners.visual_words import VisualWordsCaptioner

        return VisualWordsCaptioner(config)
    if isinstance(config, BlipConfig):
        from safe_exp.data.captioners.blip import BlipCaptioner

        return BlipCaptioner(config)
    return None
