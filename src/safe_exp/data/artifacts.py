"""Artifacts: what a run keeps of its data, to be resumed, and to score other articles on any machine."""

from __future__ import annotations

import filecmp
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch_file
from tokenizers import Tokenizer
from torch import Tensor

from safe_exp.config import CaptionerConfig, DataConfig, StoredCaptioner
from safe_exp.data.captioners import build_image_captioner, captioner_from_plain, captioners
from safe_exp.data.codebook import Codebook
from safe_exp.data.embedded import Standardiser
from safe_exp.data.splitting.duplicates import KEY_BYTES, PERMUTATIONS
from safe_exp.data.text import NORMALISATION, Cutting
from safe_exp.data.vectors import read_vector_tables, write_vector_tables
from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UserError
from safe_exp.system.files import checksums, read_sealed_json, require_unchanged, whole_file, write_sealed_json

log = logging.getLogger(__name__)

TOKENIZER, VECTORS, CODEBOOK = "tokenizer.json", "vectors.safetensors", "codebook.safetensors"
TRAINING_TEXTS, STANDARDISERS = "training_texts.safetensors", "standardisers.safetensors"
MANIFEST = "data_manifest.json"
MOST_COMPARED = 64  # earlier jobs whose artifacts are compared with those of a job
# Keys of DataConfig that decide where an article stands and how it is cut into words. data.root is not among them: a
# data set stays the same when it is moved. Nor is the batch size, which leaves the data as they are.
SHAPING_KEYS = (
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
# Switches that count where they are on: settings of earlier versions lack them.
LATER_SHAPING_KEYS = ("drop_leaks", "drop_repeated")


class _VocabularyEntry(TypedDict):
    """The keys that every version has written."""

    words: int  # padding and the unknown word not counted
    with_vector: int  # how many of them the vector file knows
    vectors: str | None  # its name; None: all vectors are random
    dim: int  # E
    visual_words: int | None  # of the codebook; None where sentences describe the images


class VocabularyEntry(_VocabularyEntry, total=False):
    """The entry "vocabulary" of data_manifest.json."""

    unknown: dict[str, float]  # share of the words of the texts of val and of test that it lacks, by side
    layer: int  # of a transformer, whose tokens are the words; 0: its input embeddings


@dataclass(frozen=True)
class Artifacts:
    """Tokenizer, vectors, codebook and manifest of a run's data, as they lie in artifacts/."""

    tokenizer: Tokenizer
    text_vectors: Tensor  # (V, E)
    visual_vectors: Tensor  # (V', E'); the same tensor, where one table serves both encoders
    codebook: Codebook | None  # of the visual words; None where sentences describe the images
    manifest: dict[str, Any]  # counts, settings, the sides' articles, fingerprint: see FakeNewsNetDataModule.manifest
    training_texts: np.ndarray | None = None  # (m, 144) uint8, see compact_signatures; None: of an older run, a bundle
    standardisers: dict[str, Standardiser] = field(default_factory=dict)  # of sentences of vectors: text, visual
    given: StoredCaptioner | None = None  # parts of the captioner that lie outside of the run, as the user named them

    @property
    def training_ids(self) -> list[str]:
        """Ids of the articles that the model was trained on: of the training side, and after a refit of others too."""
        sides = self.manifest.get("trained_on", ["train"])
        return [article for side in sides for article in self.manifest["split"][side]]

    def save(self, folder: Path) -> None:
        """Write the files. The manifest comes last: it holds the checksums of the others, which are then complete."""
        with whole_file(folder / TOKENIZER) as draft:
            self.tokenizer.save(str(draft))
        write_vector_tables(folder / VECTORS, self.text_vectors, self.visual_vectors)
        if self.codebook is not None:
            self.codebook.save(folder / CODEBOOK)
        if self.training_texts is not None:
            with whole_file(folder / TRAINING_TEXTS) as draft:
                save_file({"texts": np.ascontiguousarray(self.training_texts)}, draft)
        if self.standardisers:
            with whole_file(folder / STANDARDISERS) as draft:
                save_file({name: tensor.numpy() for name, tensor in self.standardiser_tensors().items()}, draft)
        parts = {
            CODEBOOK: self.codebook, TRAINING_TEXTS: self.training_texts, STANDARDISERS: self.standardisers or None
        }  # fmt: skip
        names = (TOKENIZER, VECTORS, *(name for name, part in parts.items() if part is not None))
        write_sealed_json(folder / MANIFEST, self.manifest | {"files": checksums(folder, names)})

    def captioner(self, reads: Sequence[str]) -> CaptionerConfig:
        """Rebuild the settings of the run's captioner, with what the user named in place of what was stored.

        Args:
            reads: the modalities that the model reads.
        Raises:
            UserError: the images are read as vectors of patches, and the model or callable is not at hand, is another
                one, or must be named by the user.
        """
        stored = captioner_from_plain(self.manifest["settings"]["captioner"])
        given = stored.at_hand(self.given or StoredCaptioner())
        if "patches" not in self.manifest or "visual" not in reads:
            return given
        where = f"This run reads vectors of pictures' patches, by {stored.source}, which must be at hand. "
        if (model := getattr(stored, "model", None)) is not None:
            where += f"If {model} lies elsewhere now, give its folder as captioner.model=FOLDER. "
        try:
            found = build_image_captioner(given).settings["content"]
        except UserError as error:
            raise UserError(f"{where}{error}") from error
        content = self.manifest["patches"]["content"]
        if found != content:
            raise UserError(
                f"{where}{given.source} is another one (digest {found[:12]}, of the run {content[:12]}): its files or "
                "captioner.arguments are not those of the training."
            )
        return given

    def standardiser_tensors(self) -> dict[str, Tensor]:
        """Name the numbers of the standardisers, such as text.mean, (E,) each."""
        sides = self.standardisers.items()
        return {f"{side}.{name}": tensor for side, each in sides for name, tensor in vars(each).items()}

    @classmethod
    def load(cls, folder: Path) -> Artifacts:
        """Read what `save` wrote.

        Raises:
            UserError: a file is missing or damaged.
        """
        for name in (TOKENIZER, VECTORS, MANIFEST):
            _require_file(folder / name)
        try:
            manifest, sealed = read_sealed_json(folder / MANIFEST)
            require_unchanged(folder, manifest.pop("files", None))
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
            tables = read_vector_tables(folder / VECTORS)
            texts = _read_training_texts(folder / TRAINING_TEXTS)
            standardisers = _read_standardisers(folder / STANDARDISERS)
            has_codebook = captioners[manifest["settings"]["captioner"]["name"]].describes_patches
        # tokenizers and safetensors have no common error; tokenizers raises a bare Exception
        except Exception as error:
            raise UserError(f"{folder}: the stored data cannot be read ({error}). Was the copy complete?") from error
        if not sealed:
            log.info("%s: an older version wrote this, without a digest; it is taken as it is.", folder / MANIFEST)
        if has_codebook:
            _require_file(folder / CODEBOOK)
        codebook = Codebook.load(folder / CODEBOOK) if has_codebook else None
        return cls(tokenizer, *tables, codebook, manifest, texts, standardisers)


def join_standardisers(tensors: Mapping[str, Tensor]) -> dict[str, Standardiser]:
    """Build standardisers from the result of `Artifacts.standardiser_tensors`.

    Raises:
        KeyError: a side has a mean without a scale.
    """
    sides = {name.partition(".")[0] for name in tensors}
    return {side: Standardiser(tensors[f"{side}.mean"], tensors[f"{side}.scale"]) for side in sides}


def _read_standardisers(path: Path) -> dict[str, Standardiser]:
    return join_standardisers(load_torch_file(path)) if path.exists() else {}


def _read_training_texts(path: Path) -> np.ndarray | None:
    """Read the training articles' texts as `find_copies` knows them; None where an older run kept none.

    Raises:
        ValueError: the file holds something else.
    """
    if not path.exists():
        return None
    texts = load_file(path).get("texts")
    if texts is None or texts.dtype != np.uint8 or texts.shape[1:] != (KEY_BYTES + PERMUTATIONS,):
        raise ValueError(f"{path.name} does not hold {KEY_BYTES + PERMUTATIONS} bytes a text")
    return texts


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing. Expected the artifacts/ folder of a run of train, whole; copy it again.")


def share_artifacts(folder: Path, others: Iterable[Path]) -> None:
    """Replace files in `folder` by hard links to files of the same name and content in other jobs' artifacts.

    Shared files become read-only: this code replaces files and never writes into them, and an editor is made to ask
    before it changes several jobs at once. Where the file system has no links, `folder` keeps its copies.

    Args:
        folder: the artifacts of one job, complete.
        others: the artifacts of the other jobs of its sweep, as far as they exist.
    """
    alone = [path for path in folder.iterdir() if path.stat().st_nlink == 1]  # the others are shared already
    for other in (other for other in others if other != folder):
        if not alone:
            return
        for path in alone:
            _link_if_alike(path, other / path.name)
        alone = [path for path in alone if path.stat().st_nlink == 1]


def earlier_artifacts(job: Path) -> Iterator[Path]:
    """Yield the artifacts of the jobs that stand before `job` in its sweep, the nearest first, as far as MOST_COMPARED.

    Folds and seeds repeat after a few jobs, and comparing each with all others would take a sweep of thousands hours.
    """
    if job.name.isdecimal():
        number = int(job.name)
        for other in range(number - 1, max(-1, number - 1 - MOST_COMPARED), -1):
            yield job.parent / str(other) / "artifacts"


def link_artifacts(folder: Path, other: Path) -> None:
    """Put hard links to all files of another job's artifacts into `folder`, which need not exist.

    As in `share_artifacts`, shared files become read-only. Where the file system has no links, `folder` gets copies.

    Args:
        other: as `Artifacts.save` has written it.
    """
    files, _ = read_sealed_json(other / MANIFEST)
    for name in (*files["files"], MANIFEST):  # the manifest last, as when they are saved
        link = folder / f".{Path(name).stem}.{os.getpid()}.link"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            os.link(other / name, link)
            link.chmod(0o444)
            os.replace(link, folder / name)
        except OSError:  # no links on this file system, or too many of them
            with whole_file(folder / name) as draft:
                shutil.copyfile(other / name, draft)
        finally:
            link.unlink(missing_ok=True)


def _link_if_alike(path: Path, other: Path) -> None:
    link = path.with_name(f".{path.stem}.{os.getpid()}.link")
    try:
        os.link(other, link)  # before the comparison: another file may get the name `other` meanwhile
        filecmp.clear_cache()
        if filecmp.cmp(link, path, shallow=False):
            link.chmod(0o444)
            os.replace(link, path)
    except OSError:
        pass  # no such file there, no links on this file system, or too many of them: the copy stays
    finally:
        link.unlink(missing_ok=True)


def shaping_settings(
    data: DataConfig,
    captioner: CaptionerConfig,
    required: Sequence[str],
    cutting: Cutting,
    vectors: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Collect the settings on which the data depend, as plain values.

    Args:
        cutting: of the prepared data.
        vectors: settings of the vectors that make other sentences of the texts; None of vectors=default.
    """
    values = {name: getattr(data, name) for name in SHAPING_KEYS}
    values |= {name: True for name in LATER_SHAPING_KEYS if getattr(data, name)}
    return {
        **values,
        "split": data.split.value,
        "require": list(required),
        "captioner": asdict(captioner),
        "normalisation": NORMALISATION,
        **cutting.settings(),
        **({} if vectors is None else {"vectors": dict(vectors)}),
    }


def data_fingerprint(prepared: str, settings: Mapping[str, Any], sides: Mapping[str, Sequence[str]]) -> str:
    """SHA-256 of the prepared data's fingerprint, the settings and the split; the same wherever the data lie.

    Args:
        prepared: fingerprint of the prepared data.
        settings: see `shaping_settings`.
        sides: ids of the articles on each side of the split.
    """
    return json_digest({"prepared": prepared, "settings": settings, "split": sides})
