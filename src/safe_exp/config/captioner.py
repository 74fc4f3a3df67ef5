"""Type of conf/captioner/: keys that all captioners share. Each captioner's own are beside it, in data/captioners/."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING


@dataclass
class CaptionerConfig:
    """The source of the sentence that describes an image."""

    name: str = MISSING  # name of the captioner

    # Facts about the captioner for other code, not keys. A captioner for which another value holds overrides it.
    caption_file: ClassVar[str | None] = None  # file beside each article with its sentence; None: it reads the image
    grids: ClassVar[Sequence[int]] = ()  # g of each level of g x g patches, one word a patch; (): words name no patches
