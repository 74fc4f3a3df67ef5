"""What a run keeps of its data, so that it can be resumed, and can score other articles anywhere."""

from __future__ import annotations

import filecmp
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor

from safe_exp.config import CaptionerConfig, DataConfig
from safe_exp.data.captioners import captioners
from safe_exp.data.codebook import Codebook
from safe_exp.data.text import NORMALISATION
from safe_exp.data.vectors import read_vector_tables, write_vector_tables
from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UserError
from safe_exp.system.files import checksums, require_unchanged, whole_file, write_json

TOKENIZER, VECTORS, CODEBOOK = "tokenizer.json", "vectors.safetensors", "codebook.safetensors"
MANIFEST = "data_manifest.json"
# Of DataConfig: what decides which articles stand where, and how they are cut into words. data.root is not among them,
# since a data set stays the same when it is moved, nor is the batch size, which leaves the data as they are.
SHAPING = (
    "split",
    "val_fraction",
    "test_fraction",
    "folds",
    "fold",
    "seed",
    "max_text_tokens",
    "max_visual_tokens",
    "min_frequency",
)


@dataclass(frozen=True)
class Artifacts:
    tokenizer: Tokenizer
    text_vectors: Tensor  # (V, E)
    visual_vectors: Tensor  # (V', E'); the same tensor, where one table serves both encoders
    codebook: Codebook | None  # of the visual words; None where sentences describe the images
    manifest: dict[str, Any]  # counts, settings, split membership, fingerprint: see FakeNewsNetDataModule.manifest

    def save(self, folder: Path) -> None:
        """Write the files; the manifest comes last, tells that the others are complete, and holds their checksums."""
        with whole_file(folder / TOKENIZER) as draft:
            self.tokenizer.save(str(draft))
        write_vector_tables(folder / VECTORS, self.text_vectors, self.visual_vectors)
        if self.codebook is not None:
            self.codebook.save(folder / CODEBOOK)
        names = (TOKENIZER, VECTORS, *([] if self.codebook is None else [CODEBOOK]))
        write_json(folder / MANIFEST, self.manifest | {"files": checksums(folder, names)})

    @classmethod
    def load(cls, folder: Path) -> Artifacts:
        """Read what `save` wrote.

        Raises:
            UserError: a file is missing or damaged.
        """
        for name in (TOKENIZER, VECTORS, MANIFEST):
            _require_file(folder / name)
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            require_unchanged(folder, manifest.pop("files", None))
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
            tables = read_vector_tables(folder / VECTORS)
            has_codebook = captioners[manifest["settings"]["captioner"]["name"]].describes_patches
        except (
            Exception
        ) as error:  # tokenizers and safetensors have no common error; tokenizers raises a bare Exception
            raise UserError(f"{folder}: the stored data cannot be read ({error}). Was the copy complete?") from error
        if has_codebook:
            _require_file(folder / CODEBOOK)
        return cls(tokenizer, *tables, Codebook.load(folder / CODEBOOK) if has_codebook else None, manifest)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing. Expected the artifacts/ folder of a run of train, whole; copy it again.")


def share_artifacts(folder: Path, others: Iterable[Path]) -> None:
    """Let files that are alike in the artifacts of several jobs be one file on the disk, by hard links.

    Only whole files of the same content are joined, and they become read-only: we replace files and never write into
    them, and an editor that would is to ask first. Where the file system has no links, `folder` keeps its copies.

    Args:
        folder: the artifacts of one job, complete.
        others: those of the other jobs of its sweep, as far as they exist.
    """
    for other in (other for other in others if other != folder):
        for path in folder.iterdir():
            if path.stat().st_nlink == 1:  # the others are shared already
                _link_if_alike(path, other / path.name)


def _link_if_alike(path: Path, other: Path) -> None:
    link = path.with_name(f".{path.stem}.{os.getpid()}.link")
    try:
        os.link(other, link)  # before the comparison: the name `other` may be given to a new file meanwhile
        filecmp.clear_cache()
        if filecmp.cmp(link, path, shallow=False):
            link.chmod(0o444)
            os.replace(link, path)
    except OSError:
        pass  # no such file there, no links on this file system, or too many of them: a copy is as good
    finally:
        link.unlink(missing_ok=True)


def shaping_settings(data: DataConfig, captioner: CaptionerConfig, required: Sequence[str]) -> dict[str, Any]:
    """The settings on which the data depend, as plain values."""
    values = {name: getattr(data, name) for name in SHAPING}
    return {
        **values,
        "split": data.split.value,
        "require": list(required),
        "captioner": asdict(captioner),
        "normalisation": NORMALISATION,
    }


def data_fingerprint(prepared: str, settings: Mapping[str, Any], sides: Mapping[str, Sequence[str]]) -> str:
    """SHA-256 over the prepared data's own fingerprint, the settings and the split: the same wherever they lie."""
    return json_digest({"prepared": prepared, "settings": settings, "split": sides})
