"""BLIP (Li et al. 2022): a neural captioner, through Hugging Face transformers."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from safe_exp.config import CaptionerConfig
from safe_exp.config.checks import require_at_least
from safe_exp.data.captioners import Captioner, captioners
from safe_exp.system.errors import UserError, first_line

if TYPE_CHECKING:
    import torch
    from PIL import Image

log = logging.getLogger(__name__)

WEIGHTS_FILE = "model.safetensors"
REQUIRED_FILES = ("config.json", "preprocessor_config.json", "tokenizer_config.json", WEIGHTS_FILE)
OPTIONAL_FILES = ("generation_config.json", "tokenizer.json", "special_tokens_map.json", "vocab.txt")
MODEL_FILES = [*REQUIRED_FILES, *OPTIONAL_FILES]  # no pickle is downloaded or read
HUB_ID_PATTERN = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
ALTERNATIVES = "captioner=visual_words needs no download, and captioner=file reads sentences made elsewhere."
DEVICE_PATTERN = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
COMMIT_PATTERN = re.compile(r"[0-9a-f]{40}")


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
        if self.revision is not None and not COMMIT_PATTERN.fullmatch(self.revision):
            # A branch moves, and with it every sentence and every result that rests on them.
            raise UserError(
                f"captioner.revision={self.revision}: expected the 40 hexadecimal digits of a commit, not a branch, "
                "or null with a folder."
            )
        for key in ("num_beams", "max_words", "batch_size"):
            require_at_least(f"captioner.{key}", getattr(self, key), 1)
        if not DEVICE_PATTERN.fullmatch(self.device):
            raise UserError(f"captioner.device={self.device}: expected auto, cpu, cuda, cuda:N or mps.")


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
        self._folder = _local_folder(config)  # None: on the hub
        self._loaded: tuple[Any, Any, Any] | None = None
        # A folder is known by its content: moving it keeps the cache, changing it does not.
        source = {"model": config.model, "revision": config.revision}
        if self._folder is not None:
            source = {"content": _folder_hash(self._folder)}
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
        with torch.inference_mode(), _quiet():
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
            device = _pick_device(self._config.device)
            transformers = _import_transformers()
            folder = self._folder or _download_model(self._config)  # outside _quiet: a download shows its progress
            with _quiet():
                self._loaded = _load_model(transformers, folder, device)
        return self._loaded


def _local_folder(config: BlipConfig) -> Path | None:
    """Find the folder of a saved model; None where `config.model` is an id on the hub.

    Raises:
        UserError: the folder lacks a file, or the id is not one or comes without its commit.
    """
    folder = Path(config.model).expanduser()
    if folder.is_dir():
        missing = [name for name in REQUIRED_FILES if not (folder / name).is_file()]
        if missing:
            raise UserError(
                f"captioner.model={config.model}: the folder lacks {', '.join(missing)}. Expected a BLIP model with "
                "its image processor and tokenizer, each saved by save_pretrained. "
                f"{_advise_conversion(missing)}{ALTERNATIVES}"
            )
        return folder
    if not HUB_ID_PATTERN.fullmatch(config.model):
        raise UserError(
            f"captioner.model={config.model}: there is no such folder, and an id on the Hugging Face hub looks like "
            f"Salesforce/blip-image-captioning-large. {ALTERNATIVES}"
        )
    if config.revision is None:
        raise UserError(
            f"captioner.model={config.model}: a model on the hub needs captioner.revision=COMMIT, since it may change "
            "there from one day to the next. Its page lists the commits under Files, History."
        )
    return None


def _advise_conversion(missing: Sequence[str]) -> str:
    if WEIGHTS_FILE not in missing:
        return ""
    return f"Weights are read from {WEIGHTS_FILE} only, never from a pickle; transformers' save_pretrained writes it. "


def _download_model(config: BlipConfig) -> Path:
    """Find the folder of a model from the hub; download it unless it lies in the hub's cache.

    Raises:
        UserError: it cannot be downloaded, or lacks a file.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(config.model, revision=config.revision, local_files_only=True))
        if all((folder / name).is_file() for name in REQUIRED_FILES):  # an earlier download may have been broken off
            return folder
    except Exception:  # not in the cache, or the cache cannot be read: the download below tells
        pass
    log.info("Downloading %s, once; the default model has 1.9 GB", config.model)
    try:
        folder = Path(snapshot_download(config.model, revision=config.revision, allow_patterns=MODEL_FILES))
    except Exception as error:  # OSError, and the hub's and the network library's own
        raise UserError(
            f"captioner.model={config.model}: the model is not on this machine and cannot be downloaded "
            f"({first_line(error)}). On a machine with network run\n"
            f"  hf download {config.model} --revision {config.revision} --local-dir FOLDER\n"
            f"copy FOLDER here and set captioner.model=FOLDER. {ALTERNATIVES}"
        ) from error
    missing = [name for name in REQUIRED_FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"captioner.model={config.model}: this commit has no {', '.join(missing)}. {_advise_conversion(missing)}"
            f"Take another captioner.revision or captioner.model. {ALTERNATIVES}"
        )
    return folder


def _import_transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f'captioner=blip needs transformers ({first_line(error)}): pip install "safe-exp[blip]". {ALTERNATIVES}'
        ) from error
    return transformers


def _load_model(transformers: Any, folder: Path, device: torch.device) -> tuple[Any, Any, Any]:
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
        model, report = transformers.BlipForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # what transformers raises depends on the file that is wrong
        raise UserError(
            f"{folder}: no BLIP model can be loaded from it ({first_line(error)}). "
            f"Was the copy complete? {ALTERNATIVES}"
        ) from error
    # transformers fills up what is missing with random numbers, and the sentences would be random too.
    incomplete = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    if incomplete:
        raise UserError(
            f"{folder}: {len(incomplete)} weights of the model are missing from {WEIGHTS_FILE} or of another size, "
            f"such as {incomplete[0]}. Expected a whole BLIP captioning model. {ALTERNATIVES}"
        )
    return processor, tokenizer, model.to(device).eval()


def _pick_device(wanted: str) -> torch.device:
    """Choose the device for `captioner.device`.

    Raises:
        UserError: this machine has no such device.
    """
    import torch

    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    there = {
        "cpu": True,
        "cuda": (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }[device.type]
    if not there:
        raise UserError(
            f"captioner.device={wanted}: there is no such device here. captioner.device=auto takes what is."
        )
    return device


def _folder_hash(folder: Path) -> str:
    """SHA-256 over the files that shape the sentences; takes a second for a gigabyte."""
    digest = hashlib.sha256()
    for name in sorted(MODEL_FILES):
        if (folder / name).is_file():
            digest.update(f"{name}\n{(folder / name).stat().st_size}\n".encode())
            with (folder / name).open("rb") as file:
                while block := file.read(2**20):
                    digest.update(block)
    return digest.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings and progress bars of transformers, which users cannot act on."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


captioners.add(Captioner("blip", BlipConfig, BlipCaptioner, one_process=True))
