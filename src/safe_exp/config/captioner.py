"""conf/captioner: how an article's image becomes a sentence."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from safe_exp.config.checks import require_at_least
from safe_exp.system.errors import UserError

DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
COMMIT = re.compile(r"[0-9a-f]{40}")
LARGEST_GRID = 16  # 256 words a picture: every patch is read, whatever data.max_visual_tokens says of captions


@dataclass
class CaptionerConfig:
    """What every captioner has in common."""

    name: str = MISSING  # which captioner


@dataclass
class FileCaptionerConfig(CaptionerConfig):
    """The sentence was made elsewhere and lies beside the article."""

    file_name: str = MISSING  # bare name of a text file in the article's folder

    def __post_init__(self) -> None:
        if Path(self.file_name).name != self.file_name or "\\" in self.file_name or self.file_name in ("", "."):
            raise UserError(
                f"captioner.file_name={self.file_name}: expected the bare name of a file beside each article, "
                "such as caption.txt."
            )


@dataclass
class VisualWordsConfig(CaptionerConfig):
    """The picture's patches, each named by the nearest of a few hundred typical ones (Sivic & Zisserman 2003)."""

    grids: list[int] = MISSING  # one level for each g: g x g patches, row by row; one word each
    patch_pixels: int = MISSING  # side of a patch after the picture is resized to g * patch_pixels squared
    words: int = MISSING  # size of the codebook; fewer where the training pictures have fewer distinct patches
    sample_patches: int = MISSING  # training patches that the codebook is fitted to, at most; bounds its memory
    n_init: int = MISSING  # starts of k-means, of which the best counts
    batch_size: int = MISSING  # pictures described at a time, and stored in one file of the cache

    def __post_init__(self) -> None:
        if not self.grids or not all(1 <= grid <= LARGEST_GRID for grid in self.grids):
            raise UserError(
                f"captioner.grids={list(self.grids)}: expected at least one number, each from 1 to {LARGEST_GRID}, "
                "as in captioner.grids=[4,2] for 16 + 4 words a picture."
            )
        # HOG takes 2 x 2 cells of a patch, and each cell needs a few gradients.
        if self.patch_pixels % 2 or not 8 <= self.patch_pixels <= 256:
            raise UserError(f"captioner.patch_pixels={self.patch_pixels}: expected an even number from 8 to 256.")
        require_at_least("captioner.words", self.words, 2)
        require_at_least("captioner.sample_patches", self.sample_patches, self.words)
        require_at_least("captioner.n_init", self.n_init, 1)
        require_at_least("captioner.batch_size", self.batch_size, 1)


@dataclass
class BlipConfig(CaptionerConfig):
    """BLIP (Li et al. 2022), a neural captioner, through Hugging Face transformers."""

    model: str = MISSING  # id on the Hugging Face hub, or a folder that holds a saved model
    revision: str | None = MISSING  # commit of the model on the hub; a folder needs none
    num_beams: int = MISSING  # beams of the search for a sentence; 1: greedy
    max_words: int = MISSING  # longest sentence, in the model's word pieces; a word is one or more of them
    device: str = MISSING  # auto (a GPU if there is one), cpu, cuda, cuda:N or mps
    batch_size: int = MISSING  # pictures described at a time, and stored in one file of the cache

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise UserError("captioner.model is empty: expected an id on the Hugging Face hub, or a folder.")
        if self.revision is not None and not COMMIT.fullmatch(self.revision):
            # A branch moves, and with it every sentence and every result that rests on them.
            raise UserError(
                f"captioner.revision={self.revision}: expected the 40 hexadecimal digits of a commit, not a branch, "
                "or null with a folder."
            )
        for key in ("num_beams", "max_words", "batch_size"):
            require_at_least(f"captioner.{key}", getattr(self, key), 1)
        if not DEVICE.fullmatch(self.device):
            raise UserError(f"captioner.device={self.device}: expected auto, cpu, cuda, cuda:N or mps.")


def captioner_from_plain(values: dict[str, Any]) -> CaptionerConfig:
    """The captioner that a stored run used, from the plain values of its config."""
    kinds = {"file": FileCaptionerConfig, "visual_words": VisualWordsConfig, "blip": BlipConfig}
    return kinds[values["name"]](**values)
