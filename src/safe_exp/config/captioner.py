"""conf/captioner: what all captioners have in common. The config of each stands beside it, in data/captioners/."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING


@dataclass
class CaptionerConfig:
    name: str = MISSING  # which captioner

    # What other code asks of a captioner; no keys. A captioner whose answer is another one overrides it.
    caption_file: ClassVar[str | None] = None  # holds the sentence, beside each article; None: it looks at the image
    grids: ClassVar[Sequence[int]] = ()  # g for each level of g x g patches, one word each; (): words name no patches
