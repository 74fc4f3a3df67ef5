"""Small made-up pictures, and configs of captioners."""

from dataclasses import replace
from functools import cache

import numpy as np
from PIL import Image

from safe_exp.data.captioners.blip import BlipConfig
from safe_exp.data.captioners.visual_words import VisualWordsConfig
from tests.made import compose_config


def noise(seed: int, side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def two_colours(left: str, right: str) -> Image.Image:
    picture = Image.new("RGB", (128, 96), left)
    picture.paste(right, (64, 0, 128, 96))
    return picture


def stripes() -> Image.Image:
    """Draw black and white upright stripes, 8 pixels wide."""
    row = np.where(np.arange(64) // 8 % 2, 255, 0).astype(np.uint8)
    return Image.fromarray(np.tile(row, (64, 1))).convert("RGB")


def visual_words_config(**changes) -> VisualWordsConfig:
    return replace(_composed("visual_words"), **changes)


def blip_config(**changes) -> BlipConfig:
    return replace(_composed("blip"), **changes)


@cache  # composing takes longer than most of what is tested with it
def _composed(name: str):
    return compose_config(f"captioner={name}").captioner
