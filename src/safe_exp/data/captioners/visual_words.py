"""A picture as a sentence of visual words (Sivic & Zisserman 2003): its patches, each described by a few numbers.

The codebook that names the descriptors is fitted to training pictures alone and so lives apart, in codebook.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from skimage.color import rgb2lab
from skimage.feature import hog, local_binary_pattern

from safe_exp.config.captioner import VisualWordsConfig

COLOURS = 6  # mean and spread of L*, a*, b*
ORIENTATIONS = 8  # of gradients, in each of a patch's 2 x 2 cells
TEXTURES = (
    10  # uniform local binary patterns of 8 neighbours: 9 with at most two changes around the circle, and the rest
)
FEATURES = COLOURS + 4 * ORIENTATIONS + TEXTURES  # F
VERSION = 1  # to be raised with any change of the numbers below, so that no cache mixes old and new ones


class VisualWordsCaptioner:
    """Cuts a picture into grids of patches and describes each by colour, gradients and texture.

    For each level g the whole picture is resized to a square of g x g patches, so that a patch has the same number of
    pixels on every level and coarse patches see larger things. Levels follow each other, and patches go row by row.
    """

    def __init__(self, config: VisualWordsConfig) -> None:
        self.grids, self.patch_pixels = list(config.grids), config.patch_pixels
        self.batch_size = config.batch_size
        self.settings: dict[str, Any] = {
            "name": config.name,
            "version": VERSION,
            "grids": self.grids,
            "patch_pixels": self.patch_pixels,
        }

    @property
    def patches(self) -> int:
        """P, descriptors and so words for each picture."""
        return sum(grid * grid for grid in self.grids)

    def describe(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        """Descriptors (P, F) float32 of each picture, the same on every call and whatever else is in the batch."""
        return [
            np.concatenate([_describe_level(image, grid, self.patch_pixels) for grid in self.grids]) for image in images
        ]


def _describe_level(image: Image.Image, grid: int, side: int) -> np.ndarray:
    """The g * g patches of one level, (g * g, F) float32."""
    square = image.convert("RGB").resize((grid * side, grid * side), Image.Resampling.BICUBIC)
    lab = rgb2lab(
        np.asarray(square, dtype=np.float32) / 255
    )  # L* from 0 to 100, a* and b* about ±100; distances as the eye sees them
    lightness = lab[..., 0] / 100

    pixels = _patches(lab, grid)  # (g * g, side * side, 3)
    gradients = hog(
        lightness,
        orientations=ORIENTATIONS,
        pixels_per_cell=(side // 2, side // 2),
        cells_per_block=(2, 2),
        feature_vector=False,
    )[::2, ::2]  # (g, g, 2, 2, orientations): every second block is the four cells of one patch
    patterns = local_binary_pattern(np.rint(lightness * 255).astype(np.uint8), P=8, R=1, method="uniform")
    codes = _patches(patterns[..., None], grid)[..., 0].astype(np.int64)
    textures = (codes[:, :, None] == np.arange(TEXTURES)).mean(1)
    parts = [pixels.mean(1), pixels.std(1), gradients.reshape(grid * grid, -1), textures]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _patches(values: np.ndarray, grid: int) -> np.ndarray:
    """(g * side, g * side, C) cut into (g * g, side * side, C), row by row."""
    side = len(values) // grid
    return values.reshape(grid, side, grid, side, -1).swapaxes(1, 2).reshape(grid * grid, side * side, -1)
