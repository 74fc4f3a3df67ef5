"""Visual words (Sivic & Zisserman 2003): a picture as the sentence of its patches, each described by a few numbers.

The codebook that turns descriptors into words is fitted to training pictures alone: see data/codebook.py.
"""

# mypy: disable-error-code="misc"
# The field `grids` hides a class variable of CaptionerConfig. The comment behind a field is its text in the docs.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from safe_exp.config import CaptionerConfig
from safe_exp.config.checks import require_at_least
from safe_exp.data.captioners import Captioner, captioners
from safe_exp.system.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

COLOURS = 6  # mean and spread of L*, a*, b*
ORIENTATIONS = 8  # of gradients, in each of a patch's 2 x 2 cells
# Uniform local binary patterns of 8 neighbours: 9 with at most two changes around the circle, and one for the rest.
TEXTURES = 10
FEATURES = COLOURS + 4 * ORIENTATIONS + TEXTURES  # F
DESCRIPTOR_VERSION = 1  # raised with any change of the descriptors, so that no cache mixes old and new ones
LARGEST_GRID = 16  # 256 words a picture; data.max_visual_tokens does not cut them


@dataclass
class VisualWordsConfig(CaptionerConfig):
    """Visual words: each patch is named by the nearest of a few hundred typical ones (Sivic & Zisserman 2003)."""

    grids: list[int] = MISSING  # one level for each g: g x g patches, row by row; one word each
    patch_pixels: int = MISSING  # side of a patch after the picture is resized to g * patch_pixels squared
    words: int = MISSING  # size of the codebook; fewer where the training pictures have fewer distinct patches
    sample_patches: int = MISSING  # training patches that the codebook is fitted to, at most; bounds its memory
    n_init: int = MISSING  # starts of k-means; the best is taken
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


class VisualWordsCaptioner:
    """Cut a picture into grids of patches and describe each patch by colour, gradients and texture.

    For each level g the whole picture is resized to a square of g x g patches: a patch has the same number of pixels on
    every level, and coarse patches show larger things. Levels follow each other; patches go row by row.
    """

    def __init__(self, config: VisualWordsConfig) -> None:
        self.grids, self.patch_pixels = list(config.grids), config.patch_pixels
        self.batch_size = config.batch_size
        self.settings: dict[str, Any] = {
            "name": config.name,
            "version": DESCRIPTOR_VERSION,
            "grids": self.grids,
            "patch_pixels": self.patch_pixels,
        }

    @property
    def patches(self) -> int:
        """P, the number of patches, and so of words, for each picture."""
        return sum(grid * grid for grid in self.grids)

    def describe(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        """Compute the descriptors (P, F) float32 of each picture; the rest of the batch changes nothing."""
        import numpy as np

        return [
            np.concatenate([_describe_level(image, grid, self.patch_pixels) for grid in self.grids]) for image in images
        ]


def _describe_level(image: Image.Image, grid: int, side: int) -> np.ndarray:
    """Describe the g * g patches of one level: (g * g, F) float32."""
    import numpy as np
    from PIL import Image
    from skimage.color import rgb2lab
    from skimage.feature import hog, local_binary_pattern

    square = image.convert("RGB").resize((grid * side, grid * side), Image.Resampling.BICUBIC)
    # L* from 0 to 100, a* and b* about ±100; distances as the eye sees them
    lab = rgb2lab(np.asarray(square, dtype=np.float32) / 255)  # (g * side, g * side, 3)
    lightness = lab[..., 0] / 100

    pixels = _patches(lab, grid)  # (g * g, side * side, 3)
    gradients = hog(
        lightness,
        orientations=ORIENTATIONS,
        pixels_per_cell=(side // 2, side // 2),
        cells_per_block=(2, 2),
        feature_vector=False,
    )[::2, ::2]  # (g, g, 2, 2, ORIENTATIONS): every second block holds the four cells of one patch
    patterns = local_binary_pattern(np.rint(lightness * 255).astype(np.uint8), P=8, R=1, method="uniform")
    codes = _patches(patterns[..., None], grid)[..., 0].astype(np.int64)  # (g * g, side * side)
    textures = (codes[:, :, None] == np.arange(TEXTURES)).mean(1)  # (g * g, TEXTURES)
    parts = [pixels.mean(1), pixels.std(1), gradients.reshape(grid * grid, -1), textures]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _patches(values: np.ndarray, grid: int) -> np.ndarray:
    """Cut (g * side, g * side, C) into patches (g * g, side * side, C), row by row."""
    side = len(values) // grid
    return values.reshape(grid, side, grid, side, -1).swapaxes(1, 2).reshape(grid * grid, side * side, -1)


captioners.add(Captioner("visual_words", VisualWordsConfig, VisualWordsCaptioner, describes_patches=True))
