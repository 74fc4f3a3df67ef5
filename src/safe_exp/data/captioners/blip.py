"""BLIP (Li et al. 2022): a neural captioner, through Hugging Face transformers."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from safe_exp.config import CaptionerConfig
from safe_exp.config.checks import check_pretrained_keys, require_at_least
from safe_exp.data.captioners import Captioner, captioners
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
    import torch
    from PIL import Image

log = logging.getLogger(__name__)

REQUIRED_FILES = ("config.json", "preprocessor_config.json", "tokenizer_config.json", WEIGHTS_FILE)
OPTIONAL_FILES = ("generation_config.json", "tokenizer.json", "special_tokens_map.json", "vocab.txt")
MODEL_FILES = [*REQUIRED_FILES, *OPTIONAL_FILES]  # no pickle is downloaded or read
ALTERNATIVES = "captioner=visual_words needs no download, and captioner=file reads sentences made elsewhere."


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
        check_pretrained_keys("captioner", self.model, self.revision, self.device)
        for key in ("num_beams", "max_words", "batch_size"):
            require_at_least(f"captioner.{key}", getattr(self, key), 1)


class BlipCaptioner:
    """Write sentences by beam search without sampling: one picture gives one sentence on one machine.

    The model is loaded, and if need be downloaded, with the first picture: a run whose sentences are all in the cache
    needs neither the model nor transformers.

    Raises:
        UserError: the folder is missing or lacks a file, or a model on the hub is named without its commit.
    """

    def __init__(self, config: BlipConfig) -> None:
        self.batch_size = config.batch_size
        self._config = config
        self._source = _pretrained(config)
        self._folder = self._source.local_folder()  # None: on the hub
        self._loaded: tuple[Any, Any, Any] | None = None
        # A folder is known by its content: moving it keeps the cache, changing it does not.
        source = {"model": config.model, "revision": config.revision}
        if self._folder is not None:
            source = {"content": hash_files(self._folder, MODEL_FILES)}
        self.settings: dict[str, Any] = {
            "name": config.name,
            **source,
            "num_beams": config.num_beams,
            "max_words": config.max_words,
        }

    def describe(self, images: Sequence[Image.Image]) -> list[str]:
        """Write one sentence for each picture; it may be empty.

        Raises:
            UserError: the model, transformers or the device is missing or cannot be used.
        """
        import torch

        processor, tokenizer, model = self._load()
        with torch.inference_mode(), quiet_transformers():
            pixels = processor(images=list(images), return_tensors="pt")["pixel_values"]  # (B, 3, H, W)
            tokens = model.generate(
                pixel_values=pixels.to(model.device),
                do_sample=False,
                num_beams=self._config.num_beams,
                max_new_tokens=self._config.max_words,
            )  # (B, L)
        return [sentence.strip() for sentence in tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    def _load(self) -> tuple[Any, Any, Any]:
        if self._loaded is None:
            device = pick_device("captioner", self._config.device)
            transformers = import_transformers(self._source)
            folder = self._source.find_folder()  # before the quiet: a download shows its progress
            with quiet_transformers():
                self._loaded = _load_model(transformers, folder, self._source, device)
        return self._loaded


def _pretrained(config: BlipConfig) -> Pretrained:
    return Pretrained(
        "captioner",
        config.model,
        config.revision,
        REQUIRED_FILES,
        OPTIONAL_FILES,
        "a BLIP model with its image processor and tokenizer, each saved by save_pretrained",
        "Salesforce/blip-image-captioning-large",
        ALTERNATIVES,
        extra="blip",
    )


def _load_model(transformers: Any, folder: Path, source: Pretrained, device: torch.device) -> tuple[Any, Any, Any]:
    """Load image processor, tokenizer and model, each from `folder` alone.

    Raises:
        UserError: the files are no BLIP captioning model, or only a part of one.
    """
    log.info("Loading the captioner from %s", folder)
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        if kind != "blip":  # transformers would build a BLIP model all the same, of random weights
            raise ValueError(f"its config.json says model_type={kind}, expected blip")
        # The processor on Pillow: the usual one needs torchvision.
        processor = transformers.BlipImageProcessorPil.from_pretrained(folder, local_files_only=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = load_whole(transformers.BlipForConditionalGeneration, folder, source)
    except UserError:
        raise
    except Exception as error:  # what transformers raises depends on the file that is wrong
        raise UserError(
            f"{folder}: no BLIP model can be loaded from it ({first_line(error)}). "
            f"Was the copy complete? {ALTERNATIVES}"
        ) from error
    return processor, tokenizer, model.to(device)


captioners.add(Captioner("blip", BlipConfig, BlipCaptioner, one_process=True))
