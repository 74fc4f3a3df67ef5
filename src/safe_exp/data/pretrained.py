"""Pretrained models of Hugging Face transformers: a folder, or an id on the hub with its commit.

Weights are read from safetensors alone, never from a pickle, and no code of a model is run.
"""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safe_exp.system.errors import UserError, first_line

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

WEIGHTS_FILE = "model.safetensors"
HUB_ID_PATTERN = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model, as two keys of a config name it.

    Args:
        group: of these keys: `captioner` for captioner.model and captioner.revision.
        model: a folder, or an id on the hub.
        revision: commit of the model on the hub.
        required, optional: its files. No others are downloaded.
        expected: what the folder should hold, for messages.
        example: of an id on the hub.
        alternatives: a sentence with the ways to do without the model.
        extra: of this package, which installs transformers.
    """

    group: str
    model: str
    revision: str | None
    required: Sequence[str]
    optional: Sequence[str]
    expected: str
    example: str
    alternatives: str
    extra: str = "transformer"

    @property
    def key(self) -> str:
        """The key and its value, as messages begin."""
        return f"{self.group}.model={self.model}"

    def _missing(self, folder: Path) -> list[str]:
        return [name for name in self.required if not (folder / name).is_file()]

    def local_folder(self) -> Path | None:
        """Find the folder of a saved model; None where `model` is an id on the hub.

        Raises:
            UserError: the folder lacks a file, or the id is not one or comes without its commit.
        """
        folder = Path(self.model).expanduser()
        if folder.is_dir():
            missing = self._missing(folder)
            if missing:
                raise UserError(
                    f"{self.key}: the folder lacks {', '.join(missing)}. Expected {self.expected}. "
                    f"{_advise_conversion(missing)}{self.alternatives}"
                )
            return folder
        if not HUB_ID_PATTERN.fullmatch(self.model):
            raise UserError(
                f"{self.key}: there is no such folder, and an id on the Hugging Face hub looks like {self.example}. "
                f"{self.alternatives}"
            )
        if self.revision is None:
            raise UserError(
                f"{self.key}: there is no such folder here, and a model on the hub needs {self.group}.revision=COMMIT, "
                "since it may change there from one day to the next. Its page lists the commits under Files, History."
            )
        return None

    def find_folder(self) -> Path:
        """Find the folder of the model; download it unless it is one already or lies in the hub's cache.

        Raises:
            UserError: as `local_folder`; or it cannot be downloaded, or lacks a file.
        """
        folder = self.local_folder()
        if folder is not None:
            return folder
        import_transformers(self)
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(self.model, revision=self.revision, local_files_only=True))
            if not self._missing(folder):  # an earlier download may be broken off
                return folder
        except Exception:  # not in the cache, or the cache cannot be read: the download below tells
            pass
        log.info("Downloading %s, once", self.model)
        files = [*self.required, *self.optional]  # no pickle
        try:
            folder = Path(snapshot_download(self.model, revision=self.revision, allow_patterns=files))
        except Exception as error:  # OSError, and the hub's and the network library's own
            raise UserError(
                f"{self.key}: the model is not on this machine and cannot be downloaded ({first_line(error)}). On a "
                f"machine with network run\n  hf download {self.model} --revision {self.revision} --local-dir FOLDER\n"
                f"copy FOLDER here and set {self.group}.model=FOLDER. {self.alternatives}"
            ) from error
        missing = self._missing(folder)
        if missing:
            raise UserError(
                f"{self.key}: this commit has no {', '.join(missing)}. {_advise_conversion(missing)}"
                f"Take another {self.group}.revision or {self.group}.model. {self.alternatives}"
            )
        return folder


def import_transformers(source: Pretrained) -> Any:
    """Import transformers.

    Raises:
        UserError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f'{source.key} needs transformers ({first_line(error)}): pip install "safe-exp[{source.extra}]". '
            f"{source.alternatives}"
        ) from error
    return transformers


def load_whole(model_class: Any, folder: Path, source: Pretrained, unused: Collection[str] = ()) -> Any:
    """Load a model of transformers from a folder alone, on the CPU, in evaluation mode.

    Args:
        model_class: such as transformers.AutoModel.
        unused: beginnings of the names of weights that nothing reads, which the file may lack.
    Raises:
        Exception: of transformers, if the files are no such model; it depends on the file that is wrong.
        UserError: a weight is missing or of another size.
    """
    model, report = model_class.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    # transformers fills up what is missing with random numbers, and the results would be random too.
    absent = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    incomplete = [name for name in absent if not name.startswith(tuple(unused))]
    if incomplete:
        raise UserError(
            f"{folder}: {len(incomplete)} weights of the model are missing from {WEIGHTS_FILE} or of another size, "
            f"such as {incomplete[0]}. Expected {source.expected}. {source.alternatives}"
        )
    return model.eval()


def pick_device(group: str, wanted: str) -> torch.device:
    """Choose the device for the key `device` of a group.

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
        raise UserError(f"{group}.device={wanted}: there is no such device here. {group}.device=auto takes what is.")
    return device


def hash_files(folder: Path, names: Collection[str]) -> str:
    """SHA-256 over those of the files that are there.

    A gigabyte takes a second, once a process while sizes and times stay the same: the jobs of a sweep have one model.
    """
    there = [(name, (folder / name).stat()) for name in sorted(names) if (folder / name).is_file()]
    return _hash_once(folder.resolve(), tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in there))


@cache
def _hash_once(folder: Path, stamps: tuple[tuple[str, int, int], ...]) -> str:
    """Hash files by name, size and time of change in nanoseconds."""
    digest = hashlib.sha256()
    for name, size, _ in stamps:
        digest.update(f"{name}\n{size}\n".encode())
        with (folder / name).open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def quiet_transformers() -> Iterator[None]:
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


def _advise_conversion(missing: Sequence[str]) -> str:
    if WEIGHTS_FILE not in missing:
        return ""
    return f"Weights are read from {WEIGHTS_FILE} only, never from a pickle; transformers' save_pretrained writes it. "
