"""Captioners: an article's image becomes the sentence V that the network reads. Each is one module of this package.

Every module is imported when a command starts. Packages that take time to import, such as torch, are imported where
they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from safe_exp.config import CaptionerConfig
from safe_exp.config.checks import require_type
from safe_exp.system.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


@dataclass(frozen=True)
class PatchGrid:
    """A picture as the vectors of its patches; its length is their number."""

    vectors: np.ndarray  # (rows, columns, E) float32

    def __len__(self) -> int:
        return self.rows * self.columns

    @property
    def rows(self) -> int:
        return self.vectors.shape[0]

    @property
    def columns(self) -> int:
        return self.vectors.shape[1]

    @property
    def sequence(self) -> np.ndarray:
        """The vectors row by row, (P, E)."""
        return self.vectors.reshape(len(self), -1)


class ImageCaptioner(Protocol):
    """Describes decoded pictures (RGB, see data/reading/images.py)."""

    settings: dict[str, Any]  # plain values that shape its results; part of fingerprints and of the cache's key
    batch_size: int  # pictures that it is given at a time, at most

    def describe(self, images: Sequence[Image.Image]) -> Sequence[str | np.ndarray | PatchGrid]:
        """Describe each picture.

        Returns:
            For each a sentence, or descriptors (P, F) float32 that a codebook turns into words, or the vectors of its
            patches, as the captioner's entry says.
        """


class PatchCaptioner(ImageCaptioner, Protocol):
    """A captioner whose entry says that it gives vectors."""

    def describe(self, images: Sequence[Image.Image]) -> Sequence[PatchGrid]: ...

    def view(self, image: Image.Image) -> Image.Image:
        """Cut a picture to the part that its patches cover."""


@dataclass(frozen=True)
class Captioner:
    """A captioner, as `captioner=<name>` chooses it.

    Args:
        config: type of its settings, `schema/captioner/<name>_schema` in conf/.
        build: makes it from such settings; None where the sentence lies beside the article.
        describes_patches: it gives descriptors, not sentences. `config` then has `words`, `sample_patches` and `n_init`
            too, with which the codebook is fitted.
        gives_vectors: it gives the vectors of a picture's patches, which are the sequence V itself, without words. It
            is a `PatchCaptioner`, and `config` then has `standardise`.
        one_process: articles are prepared by one process, since its model takes a batch of pictures at a time, which is
            faster than several processes that share the cores.
    """

    name: str
    config: type[CaptionerConfig]
    build: Callable[[Any], ImageCaptioner] | None = None
    describes_patches: bool = False
    gives_vectors: bool = False
    one_process: bool = False


captioners: Registry[Captioner] = Registry("captioner", __name__)


def build_image_captioner(config: CaptionerConfig) -> ImageCaptioner | None:
    """Build the captioner that `captioner=…` asks for; None where the sentence lies beside the article.

    A model is loaded later, when the first picture is described: a run whose pictures are all in the cache needs none.

    Raises:
        UserError: there is no such captioner, `config` lacks its settings, or its model cannot be found.
    """
    captioner = captioners[config.name]
    require_type("captioner", config, captioner.config)
    return None if captioner.build is None else captioner.build(config)


def captioner_from_plain(values: Mapping[str, Any]) -> CaptionerConfig:
    """Rebuild the settings of a stored run's captioner from their plain values.

    Nothing that they name is run: `CaptionerConfig.at_hand` asks the user.

    Raises:
        UserError: there is no such captioner, or a value is out of range.
    """
    config = captioners[values["name"]].config(**values)
    config.stored = True  # type: ignore[misc]  # of these settings, and no key of theirs
    return config
