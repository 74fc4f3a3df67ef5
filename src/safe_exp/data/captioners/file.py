"""Sentences made elsewhere: beside the article, or in a column of the table. No image is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING

from safe_exp.config import CaptionerConfig
from safe_exp.data.captioners import Captioner, captioners
from safe_exp.system.errors import UserError


@dataclass
class FileCaptionerConfig(CaptionerConfig):
    """Sentences that were made elsewhere and lie beside the articles."""

    file_name: str = MISSING  # bare name of a text file in the article's folder

    def __post_init__(self) -> None:
        if Path(self.file_name).name != self.file_name or "\\" in self.file_name or self.file_name in ("", "."):
            raise UserError(
                f"captioner.file_name={self.file_name}: expected the bare name of a file beside each article, "
                "such as caption.txt."
            )

    @property
    def caption_file(self) -> str:  # type: ignore[override]  # a class variable of all others
        """Name of the file that holds the sentence."""
        return self.file_name


captioners.add(Captioner("file", FileCaptionerConfig))
