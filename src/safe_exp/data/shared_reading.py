"""SharedReading: work on some articles that is done once for several encoders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from safe_exp.data.gallery import Description
from safe_exp.data.reading.articles import Picture
from safe_exp.data.reading.untrusted import UnusableArticle
from safe_exp.data.text import Cutting, split_words
from safe_exp.data.transformer.coder import Coder
from safe_exp.data.transformer.pieces import Cut


@dataclass
class SharedReading:
    """Work on some articles that several encoders share: texts cut or coded, pictures decoded and described.

    They have one captioner.
    """

    words: dict[tuple[str, int, Cutting], list[str]] = field(default_factory=dict)
    coded: dict[tuple[Any, ...], tuple[Cut, np.ndarray]] = field(default_factory=dict)
    decoded: dict[Picture, Image.Image] = field(default_factory=dict)
    described: dict[Picture, Description | UnusableArticle] = field(default_factory=dict)

    def split(self, text: str, max_words: int, cutting: Cutting) -> list[str]:
        """Cut a text into words, see `split_words`."""
        key = (text, max_words, cutting)
        if key not in self.words:
            self.words[key] = split_words(text, max_words, cutting)[0]
        return self.words[key]

    def code(
        self, coder: Coder, transformer: tuple[str, int], text: str, most: int, title_length: int
    ) -> tuple[Cut, np.ndarray]:
        """Cut a text into a transformer's tokens and number them, (n,), or compute their vectors, (n, E).

        Args:
            transformer: digest and layer, the same for encoders whose coders give the same.
            most: tokens, at most.
            title_length: characters of the title, with which the text begins.
        """
        key = (transformer, text, most, title_length)
        if key not in self.coded:
            cut = coder.pieces.cut(text, most, title_length)
            self.coded[key] = cut, coder.code([cut])[0]
        return self.coded[key]
