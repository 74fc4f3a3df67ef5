"""Articles that a program gives as dicts: an article or a refusal for each, as of JSON lines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from safe_exp.data.reading.articles import Article, LeftOut, Picture, StoredPicture
from safe_exp.data.reading.images import store_image
from safe_exp.data.reading.json_lines import LineReader
from safe_exp.data.reading.untrusted import UnusableArticle

MISSING_TYPES = ("NAType", "NaTType")  # of pandas, which is no dependency: missing values that are not floats


@dataclass
class GivenReader(LineReader):
    """Read articles from dicts with any of id, title, text, caption and image; other keys are ignored.

    An image is a path, bytes of an image file, or a picture of Pillow; several are a list.

    Args:
        images: the folder that paths of images start from and may not leave; None: a path is the caller's own choice.
    """

    def read_item(self, number: int, item: Any) -> Article | LeftOut:
        """Read one article, or give the reason why there is none.

        Args:
            number: its place, from 1, which names an article without an id.
            item: a dict.
        """
        name = f"article {number}"
        if not isinstance(item, Mapping):
            return LeftOut(name, "article is not a dict", f"found a {type(item).__name__}")
        return self.read_values(name, {str(key): _plain(value) for key, value in item.items()})

    def _image(self, value: Any) -> Picture:
        if isinstance(value, bytes | bytearray | memoryview):
            return StoredPicture("image", bytes(value))
        if isinstance(value, Image.Image):
            return store_image(value, "image")
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, str):
            expected = "expected a path, bytes of an image file, or a picture of Pillow"
            raise UnusableArticle("image is not a path", f"{expected}; found a {type(value).__name__}")
        if self.images is not None:
            return super()._image(value)
        try:
            return Path(value).expanduser().resolve()
        except (OSError, ValueError, RuntimeError) as error:  # a name that no file can have
            raise UnusableArticle("no image file", f"{value[:100]!r} names no file") from error


def _plain(value: Any) -> Any:
    """Turn values of NumPy and pandas into those that JSON has; a missing value is None."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value).__name__ in MISSING_TYPES or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, np.ndarray) and value.ndim == 1:  # a list in a table's cell
        value = value.tolist()
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
