"""An article's image becomes the sentence V that the network reads. Each captioner is one module of this package.

Every module is imported when a command starts. What takes time to import, such as torch, is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from safe_exp.config import CaptionerConfig
from safe_exp.system.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


class ImageCaptioner(Protocol):
    """Looks at decoded pictures (RGB, see data/reading/images.py) and describes them."""

    settings: dict[str, Any]  # plain values: all that shapes its result; part of fingerprints and of the cache's key
    batch_size: int  # pictures that it is given at a time, at most

    def describe(self, images: Sequence[Image.Image]) -> list[str] | list[np.ndarray]:
        """One result for each picture: a sentence, or (P, F) float32 descriptors that a codebook turns into words."""


@dataclass(frozen=True)
class Captioner:
    """What `captioner=<name>` chooses.

    Args:
        config: type of its settings, `schema/captioner/<name>_schema` in conf/.
        build: makes it from such settings; None where the sentence lies beside the article.
        describes_patches: it gives descriptors, not sentences. `config` then has `words`, `sample_patches` and `n_init`
            too, which the codebook is fitted with.
        one_process: its model takes a batch of pictures at a time, which is faster than several that share the cores.
    """

    name: str
    config: type[CaptionerConfig]
    build: Callable[[Any], ImageCaptioner] | None = None
    describes_patches: bool = False
    one_process: bool = False


captioners: Registry[Captioner] = Registry("captioner", __name__)


def build_image_captioner(config: CaptionerConfig) -> ImageCaptioner | None:
    """The captioner that `captioner=…` asks for; None where the sentence lies beside the article.

    Raises:
        UserError: there is no such captioner, or its model cannot be found. A model is loaded when the first picture is
            described, so that a run whose pictures are all in the cache needs none.
    """
    build = captioners[config.name].build
    return None if build is None else build(config)


def captioner_from_plain(values: Mapping[str, Any]) -> CaptionerConfig:
    """The settings of the captioner that a stored run used, from their plain values."""
    return captioners[values["name"]].config(**values)
