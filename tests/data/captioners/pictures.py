"""Small made-up pictures, and configs of captioners."""

from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from safe_exp.data.captioners.blip import BlipConfig
from safe_exp.data.captioners.patches import PatchesConfig
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
def _composed(name: str, *needed: str):
    return compose_config(f"captioner={name}", *needed).captioner


def patches_config(**changes) -> PatchesConfig:
    plain = asdict(_composed("patches", "captioner._target_=module.name"))
    return PatchesConfig(**(plain | {"_target_": None, "device": "cpu"} | changes))


def save_vision_model(folder: Path, seed: int = 0, side: int = 32, processor=None) -> Path:
    """Save a tiny ViT with random weights, of 2 x 2 patches, and its image processor."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(seed)
    sizes = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
    # The large initializer makes the vectors depend on the picture.
    config = transformers.ViTConfig(**sizes, image_size=side, patch_size=side // 2, initializer_range=0.5)
    transformers.ViTModel(config).save_pretrained(folder)
    (processor or transformers.ViTImageProcessorPil(size={"height": side, "width": side})).save_pretrained(folder)
    return folder
