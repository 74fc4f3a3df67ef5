"""Vectors of a picture's patches, by a frozen vision model or any callable: the sequence V itself, without words."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from safe_exp.config import CaptionerConfig, StoredCaptioner
from safe_exp.config.checks import check_pretrained_keys, require_at_least
from safe_exp.data.captioners import Captioner, PatchGrid, captioners
from safe_exp.data.captioners._callable import CallableSource
from safe_exp.data.pretrained import (
    WEIGHTS_FILE,
    Pretrained,
    hash_files,
    import_transformers,
    load_whole,
    pick_device,
    quiet_transformers,
)
from safe_exp.system.errors import UserError, first_line

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

log = logging.getLogger(__name__)

MODEL_FILES = ("config.json", "preprocessor_config.json", WEIGHTS_FILE)
VERSION = 1  # raised with any change of the vectors, so that no store mixes old and new ones
MOST_PREFIX_TOKENS = 16  # tokens before the patches: one for the class, one for a teacher, or a few registers
ALTERNATIVES = "captioner=visual_words needs no model."


@dataclass
class PatchesConfig(CaptionerConfig):
    """Vectors of patches, by a vision model of transformers (such as ViT, DeiT, DINOv2, CLIP, Swin) or a callable."""

    model: str | None = MISSING  # folder of a saved model with its image processor, or id on the hub; null: _target_
    revision: str | None = MISSING  # commit of the model on the hub; a folder needs none
    _target_: str | None = MISSING  # callable in place of a model: pictures (PIL) to an array (N, P, E) or (N, g, h, E)
    arguments: Any = MISSING  # of the callable by name: of its class, or added to each call; null: none
    standardise: bool = MISSING  # true: each number less its mean over training patches, in lengths of about 1
    device: str = MISSING  # of a model: auto (a GPU if there is one), cpu, cuda, cuda:N or mps
    batch_size: int = MISSING  # pictures described at a time, and stored in one file

    def __post_init__(self) -> None:
        if (self.model is None) == (self._target_ is None):
            raise UserError(
                f"captioner=patches: {'none' if self.model is None else 'both'} of captioner.model and "
                "captioner._target_ is given. Expected captioner.model=FOLDER, a vision model saved by transformers "
                "(or an id on the hub, with captioner.revision=COMMIT), or captioner._target_=MODULE.NAME, a callable."
            )
        check_pretrained_keys("captioner", "-" if self.model is None else self.model, self.revision, self.device)
        if self.arguments is not None and not isinstance(self.arguments, Mapping):
            raise UserError(
                f"captioner.arguments={self.arguments}: expected names with values, as in "
                "'captioner.arguments={side: 3}', or null."
            )
        require_at_least("captioner.batch_size", self.batch_size, 1)

    @property
    def source(self) -> str:
        """Name of the model or callable, for messages."""
        at = "" if self.revision is None else f" at {self.revision[:12]}"
        return self._target_ or f"{self.model}{at}"

    def at_hand(self, given: StoredCaptioner) -> PatchesConfig:
        """Take the place of the model from the user, and the callable from nobody else.

        Raises:
            UserError: the run has a callable, and the user has not named one.
        """
        if self._target_ is None:
            return self if given.model is None else replace(self, model=given.model, revision=None)
        if given._target_ is None:
            arguments = f" 'captioner.arguments={_as_override(self.arguments)}'" if self.arguments else ""
            raise UserError(
                f"The pictures of this run were described by the callable {self._target_}. Nothing that a stored run "
                "names is run by itself. If you know this callable and trust it, name it on the command line: "
                f"captioner._target_={self._target_}{arguments}"
            )
        return replace(self, _target_=given._target_, arguments=given.arguments)


class PatchesCaptioner:
    """Describe each picture by the vectors of its patches, row by row. What is in the batch beside it changes nothing.

    The model is loaded with the first picture, but its files are read at once: their digest tells what is stored.

    Raises:
        UserError: the model or the callable is not at hand, or not one that can be used.
    """

    def __init__(self, config: PatchesConfig) -> None:
        self.batch_size = config.batch_size
        self._source: CallableSource | _VisionModel
        if config._target_ is not None:
            if config.stored:
                config.at_hand(StoredCaptioner())  # refuses: the user has not named the callable
            self._source = CallableSource(config._target_, config.arguments or {})
        else:
            self._source = _VisionModel(config)
        self.settings: dict[str, Any] = {"name": config.name, "version": VERSION, "content": self._source.digest}

    def describe(self, images: Sequence[Image.Image]) -> list[PatchGrid]:
        """Compute the vectors of each picture's patches.

        Raises:
            UserError: the model, transformers or the device cannot be used, or the callable fails.
        """
        return [PatchGrid(vectors) for vectors in self._source.describe(images)]

    def view(self, image: Image.Image) -> Image.Image:
        """Cut the picture to what its patches cover: some models see the middle alone."""
        return self._source.view(image)


class _VisionModel:
    """A vision model of transformers."""

    def __init__(self, config: PatchesConfig) -> None:
        self._pretrained = Pretrained(
            "captioner", str(config.model), config.revision, MODEL_FILES, (),
            expected="a vision model with its image processor, each saved by save_pretrained",
            example="facebook/dinov2-small", alternatives=ALTERNATIVES,
        )  # fmt: skip
        self._folder = self._pretrained.find_folder()
        self.digest = hash_files(self._folder, MODEL_FILES)
        self._device = config.device
        self._loaded: tuple[Any, Any] | None = None

    def describe(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        """Compute the vectors (rows, columns, E) float32 of each picture's patches."""
        import torch

        processor, model = self._load()
        # One by one on the CPU, where several take as long, and where rounding depends on their number.
        step = 1 if model.device.type == "cpu" else len(images)
        found: list[np.ndarray] = []
        with torch.inference_mode(), quiet_transformers():
            for start in range(0, len(images), step):
                pixels = processor(images=list(images[start : start + step]), return_tensors="pt")["pixel_values"]
                try:
                    tokens = model(pixel_values=pixels.to(model.device)).last_hidden_state
                    vectors = lay_out(tokens, pixels.shape[2:], model.config)
                except Exception as error:  # a model of another kind than vision raises anything
                    raise self._refusal(error) from error
                found.extend(vectors.float().cpu().numpy())
        return found

    def view(self, image: Image.Image) -> Image.Image:
        return cut_to_view(image, self._load()[0])

    def _load(self) -> tuple[Any, Any]:
        """Load image processor and model, each from the folder alone.

        Raises:
            UserError: the files are no vision model, or only a part of one; or transformers is missing.
        """
        if self._loaded is None:
            device = pick_device("captioner", self._device)
            transformers = import_transformers(self._pretrained)
            log.info("Loading the vision model from %s", self._folder)
            try:
                with quiet_transformers():
                    # On Pillow: the other processors need torchvision.
                    processor = transformers.AutoImageProcessor.from_pretrained(
                        self._folder, local_files_only=True, trust_remote_code=False, backend="pil"
                    )
                    whole = load_whole(transformers.AutoModel, self._folder, self._pretrained, UNREAD_WEIGHTS)
            except UserError:
                raise
            except Exception as error:  # what transformers raises depends on the file that is wrong
                raise self._refusal(error) from error
            model = getattr(whole, "vision_model", whole)  # CLIP and its like have one for texts, too
            self._loaded = processor, model.to(device)
        return self._loaded

    def _refusal(self, error: Exception) -> UserError:
        return UserError(
            f"{self._folder}: no vision model with vectors of patches can be loaded from it ({first_line(error)}). "
            f"Was the copy complete? {ALTERNATIVES}"
        )


UNREAD_WEIGHTS = ("pooler.",)  # beginnings of names; the pooler makes one vector of the whole picture


def lay_out(tokens: Tensor, pixels: Sequence[int], config: Any) -> Tensor:
    """Lay a model's last hidden state out as the grid of its patches, without the tokens before them.

    Args:
        tokens: (N, T, E), or (N, E, rows, columns) of a convolutional model.
        pixels: height and width of the pictures that the model saw.
        config: of the model; `patch_size` tells the grid.
    Returns:
        (N, rows, columns, E).
    Raises:
        ValueError: the number of tokens is no grid's.
    """
    if tokens.ndim == 4:
        return tokens.permute(0, 2, 3, 1)
    count, size = tokens.shape[1], getattr(config, "patch_size", None)
    if size is not None:
        height, width = size if isinstance(size, Sequence) else (size, size)
        rows, columns = pixels[0] // height, pixels[1] // width
        if 0 <= count - rows * columns <= MOST_PREFIX_TOKENS:
            return tokens[:, count - rows * columns :].unflatten(1, (rows, columns))
    side = round(count**0.5)
    if side * side != count:  # a model that joins patches in steps, such as Swin, has fewer than it began with
        raise ValueError(f"{count} tokens for {pixels[0]} x {pixels[1]} pixels are no grid of patches")
    return tokens.unflatten(1, (side, side))


def cut_to_view(image: Image.Image, processor: Any) -> Image.Image:
    """Cut a picture to the part that a model sees: its middle, where its image processor crops it."""
    crop = getattr(processor, "crop_size", None)
    if not getattr(processor, "do_center_crop", None) or crop is None:
        return image
    width, height = resized = image.size
    size = processor.size
    if processor.do_resize and size.shortest_edge:
        resized = (width * size.shortest_edge / min(image.size), height * size.shortest_edge / min(image.size))
    elif processor.do_resize:
        resized = (size.width, size.height)
    seen = (min(width, crop.width / resized[0] * width), min(height, crop.height / resized[1] * height))
    left, top = (width - seen[0]) / 2, (height - seen[1]) / 2
    return image.crop((round(left), round(top), round(left + seen[0]), round(top + seen[1])))


def _as_override(arguments: Mapping[str, Any]) -> str:
    """Write arguments as on a command line."""
    return "{" + ", ".join(f"{name}: {value}" for name, value in arguments.items()) + "}"


captioners.add(Captioner("patches", PatchesConfig, PatchesCaptioner, gives_vectors=True, one_process=True))
