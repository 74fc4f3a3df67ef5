"""The Lightning data module: prepared articles become batches for training and scoring."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from safe_exp.config import (
    MODALITIES,
    AnyVectorsConfig,
    CaptionerConfig,
    DataConfig,
    TransformerVectorsConfig,
    VectorsConfig,
)
from safe_exp.data.article_weights import weigh_articles
from safe_exp.data.artifacts import MANIFEST, Artifacts, data_fingerprint, shaping_settings
from safe_exp.data.codebook import CodebookConfig, fit_codebook
from safe_exp.data.encoded import CodedTexts, EncodedArticles, NewsLoader, encode_prepared
from safe_exp.data.lexicon import choose_words
from safe_exp.data.patch_vectors import (
    JoinedSentences,
    describe_patches,
    fit_patch_standardiser,
    join_patches,
    reads_patches,
)
from safe_exp.data.prepared import PreparedArticles
from safe_exp.data.prepared.shared import prepare_or_share
from safe_exp.data.reading.articles import LeftOut, count_reasons
from safe_exp.data.sampler import ArticleOrder, GlobalBatches
from safe_exp.data.selection import (
    find_usable_rows,
    gather_split_columns,
    list_unplaced,
    renumber_split,
    require_both_classes,
)
from safe_exp.data.splitting.kept import make_or_read_split
from safe_exp.data.splitting.leakage import leakage_warning, split_repeats_warning
from safe_exp.data.splitting.splits import Split
from safe_exp.data.summary import summarise_data, unknown_words_warning
from safe_exp.data.text import Cutting
from safe_exp.data.transformer.chosen import ChosenTransformer
from safe_exp.data.word_cutters import AUTO, SPACES
from safe_exp.system.errors import UserError

log = logging.getLogger(__name__)


class FakeNewsNetDataModule(pl.LightningDataModule):
    """Prepare articles, split them, and number their words by the vocabulary of the training split.

    The attributes annotated below exist after `setup`.

    Args:
        seed: shuffles the training articles, together with the epoch and nothing else.
        artifacts: a folder in which an earlier start of this run may have left its tokenizer and vectors. They are then
            used, and the data must be the same as they were.
        reads: the modalities that the model reads; an article must have them unless `data.require` says otherwise.
        article_weights: `model.article_weights`, which the data of a run do not depend on otherwise.
    """

    prepared: PreparedArticles  # every article
    rows: np.ndarray  # (n,) int64, of the articles that are used, ascending
    left_out: list[LeftOut]  # the other articles, each with the reason
    split: Split  # rows on each side
    leakage: str | None  # a warning for the user where publishers, or what repeats, give the labels away
    unknown_words: str | None  # a warning for the user where the vocabulary lacks many words of val or test
    encoded: EncodedArticles  # every article as integers, by the same rows
    text_vectors: Tensor  # (V, E)
    visual_vectors: Tensor  # (V', E'); the same tensor where one table serves both encoders
    fingerprint: str  # see data_fingerprint

    def __init__(
        self,
        data: DataConfig,
        captioner: CaptionerConfig,
        vectors: AnyVectorsConfig,
        seed: int,
        artifacts: Path | None = None,
        reads: Sequence[str] = MODALITIES,
        article_weights: str = "none",
    ) -> None:
        super().__init__()
        self.data = data
        self.captioner = captioner
        self.vectors = vectors
        self.seed = seed
        self.artifacts = artifacts
        self.reads = tuple(reads)
        self.article_weights = article_weights
        self.required = tuple(data.require or reads)
        self.transformer: ChosenTransformer | None = None
        self._stored: Artifacts | None = None
        self._on_device: EncodedArticles | None = None

    def prepare_data(self) -> None:
        """Prepare the articles, unless they are prepared already.

        Raises:
            UserError: as `prepare` does.
        """
        if self._stored is None:  # Lightning asks before every fit, validation and test
            prepare_or_share(self.data, self.captioner, self._choose_cutting(self._load_artifacts()))

    def setup(self, stage: str | None = None) -> None:
        """Split the articles and number their words, once, whatever the stage.

        Raises:
            UserError: the articles cannot be prepared, lack a class or a required modality, cannot be split as asked,
                or are not those with which `artifacts` was made; publishers are to be weighed, and no training article
                names one; or the vector file cannot be used.
        """
        if self._stored is not None:
            return
        stored = self._load_artifacts()
        self.prepared = prepare_or_share(self.data, self.captioner, self._choose_cutting(stored))
        self.rows, lacking = find_usable_rows(self.prepared, self.required, self.data)
        self.left_out = self.prepared.left_out + lacking
        require_both_classes(self.prepared.labels[self.rows], self.data.root, self.left_out)
        columns = gather_split_columns(self.prepared, self.rows)
        local = make_or_read_split(columns, self.data, self.prepared.folder)
        self.split = renumber_split(local, self.rows)
        self.leakage = "\n".join(filter(None, (leakage_warning(columns, local, self.data), self._warn_of_repeats())))
        self.leakage = self.leakage or None
        self.left_out += list_unplaced(self.prepared, self.split)
        weights = self._weigh(self.split.train)
        cutting = Cutting.from_settings(self.prepared.manifest["settings"])
        coded = self._code_texts()
        patches = join_patches(self.prepared) if reads_patches(self.prepared, self.reads) else None
        shaping = None if self.transformer is None else self.transformer.shaping
        settings = shaping_settings(self.data, self.captioner, self.required, cutting, shaping)
        self.fingerprint = data_fingerprint(self.prepared.fingerprint, settings, self._side_ids())
        if stored is not None:
            self._check_unchanged(stored)
        else:
            stored = self._build_artifacts(settings, coded, patches)
        self.text_vectors, self.visual_vectors = stored.text_vectors, stored.visual_vectors
        encoded = encode_prepared(self.prepared, stored.tokenizer, stored.codebook, coded, patches)
        self.encoded = encoded.standardised(stored.standardisers)
        if weights is not None:
            self.encoded = replace(self.encoded, weight=torch.from_numpy(weights))
        self._stored = stored
        reads_words = "text" in self.reads and coded is None
        self.unknown_words = unknown_words_warning(self.data, self.manifest()["vocabulary"]) if reads_words else None

    def train_dataloader(self) -> NewsLoader:
        # Under overfit_batches Lightning wants the same few batches again and again.
        overfits = self.trainer is not None and self.trainer.overfit_batches  # type: ignore[attr-defined]  # untyped
        return self._loader(self.split.train, self.data.batch_size, None if overfits else self.seed)

    def val_dataloader(self) -> NewsLoader:
        return self._loader(self.split.val, max(self.data.batch_size, self.encoded.scored_at_once))

    def test_dataloader(self) -> NewsLoader:
        return self._loader(self.split.test, max(self.data.batch_size, self.encoded.scored_at_once))

    def refit_dataloader(self, sides: Sequence[str]) -> NewsLoader:
        """Batch the articles of several sides together for training, in the order of the seed."""
        rows = self._rows_of(sides)
        loader = self._loader(rows, self.data.batch_size, self.seed)
        weights = self._weigh(rows)  # as training articles, all of them
        if weights is None:
            return loader
        weight = torch.from_numpy(weights).to(loader.encoded.device)
        return NewsLoader(replace(loader.encoded, weight=weight), loader.batch_sampler)

    def record_refit(self, sides: Sequence[str], fitted_on: str) -> None:
        """Note in the artifacts that the model was trained on the articles of `sides`, of which `evaluate` warns.

        Args:
            fitted_on: the articles of the calibration.
        """
        rows = self._rows_of(sides)
        texts = self.prepared.text_signatures(rows[self.prepared.has_text()[rows]])
        manifest = self._stored.manifest | {"trained_on": list(sides), "fitted_on": fitted_on}
        self._stored = replace(self._stored, manifest=manifest, training_texts=texts)

    def _weigh(self, rows: np.ndarray) -> np.ndarray | None:
        return weigh_articles(self.prepared.labels, self.prepared.sources, rows, self.article_weights)

    def _rows_of(self, sides: Sequence[str]) -> np.ndarray:
        return np.sort(np.concatenate([self.split.sides()[side] for side in sides]))

    @property
    def ids(self) -> Sequence[str]:
        """Id of each article, by row."""
        return self.prepared.ids

    @property
    def vector_dim(self) -> int:
        """Length of the vectors that take the most time: the text's, or those of patches, if these are longer."""
        patches = self.visual_vectors.shape[1] if "patches" in self.manifest() else 0
        return max(self.text_vectors.shape[1], patches)

    def summary(self) -> list[tuple[str, str]]:
        """Summarise the data as (name, text) lines, printed before training."""
        manifest = self.manifest()
        parts = self.prepared, self.rows, self.left_out, self.split
        return summarise_data(self.data, *parts, manifest["vocabulary"], manifest.get("patches"))

    def manifest(self) -> dict[str, Any]:
        """Return counts, articles left out, settings, the ids on each side, and the fingerprint, as plain values."""
        return self._stored.manifest

    def save_artifacts(self, folder: Path) -> None:
        """Write the files of `Artifacts.save`."""
        self._stored.save(folder)

    def _loader(self, rows: np.ndarray, batch_size: int, seed: int | None = None) -> NewsLoader:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        batches = GlobalBatches(ArticleOrder(rows, seed), batch_size, rank, world_size)
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        return NewsLoader(self.copy_for(device), batches)

    def copy_for(self, device: torch.device) -> EncodedArticles:
        """Choose where batches are selected: on the GPU that trains, so that no batch travels, or on the host.

        The GPU holds four bytes for each word: 120 MB for 200,000 articles of 150 words. Articles that would fill more
        than half of its free memory stay on the host.

        Args:
            device: that trains.
        """
        if device.type == "cpu":
            return self.encoded
        if device.type == "cuda" and self.encoded.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
            return self.encoded
        if self._on_device is None or self._on_device.device != device:
            self._on_device = self.encoded.to(device)
        return self._on_device

    def _side_ids(self) -> dict[str, list[str]]:
        return {name: [self.ids[row] for row in rows] for name, rows in self.split.sides().items()}

    def _load_artifacts(self) -> Artifacts | None:
        """Load what an earlier start of this run has left; None at its first start.

        Raises:
            UserError: a file is missing or damaged.
        """
        if self.artifacts is None or not (self.artifacts / MANIFEST).exists():
            return None
        return Artifacts.load(self.artifacts)

    def _choose_cutting(self, stored: Artifacts | None) -> Cutting:
        """Choose how texts are cut: as `data` says, except for a run that was begun before `data.words` existed.

        Its config has no such key, and now gets its default. Its artifacts record none, and mean `spaces`.
        """
        cutting = Cutting(self.data.words, self.data.keep_urls)
        begun_at_spaces = stored is not None and Cutting.from_settings(stored.manifest["settings"]).words == SPACES
        return cutting._replace(words=SPACES) if begun_at_spaces and cutting.words == AUTO else cutting

    def _warn_of_repeats(self) -> str | None:
        if self.prepared.repeats is None:
            return None
        carried, described = self.prepared.repeats.carried(self.reads)
        return split_repeats_warning(carried, described, self.prepared.labels, self.prepared.groups, self.split)

    def _code_texts(self) -> CodedTexts | None:
        """Make the sentences of texts and captions that are tokens of a transformer; None with vectors=default."""
        if not isinstance(self.vectors, TransformerVectorsConfig):
            return None
        self.transformer = ChosenTransformer(self.vectors)
        coded = self.transformer.code(self.prepared, self.data, self.reads)
        self.prepared = coded.overwrite(self.prepared)
        return coded

    def _build_artifacts(
        self, settings: dict[str, Any], coded: CodedTexts | None, patches: JoinedSentences | None
    ) -> Artifacts:
        prepared, training = self.prepared, self.split.train
        codebook = None
        if prepared.descriptors is not None:
            config = cast(CodebookConfig, self.captioner)  # it describes patches: see Captioner.describes_patches
            codebook = fit_codebook(prepared.descriptors, prepared.image_rows(training), config, self.data.seed)
        if coded is not None:
            lexicon = self.transformer.take_tokens(coded, training)
        else:
            lexicon = choose_words(
                prepared, self.split, cast(VectorsConfig, self.vectors), self.data.min_frequency,
                Cutting.from_settings(settings),
            )  # fmt: skip
        if codebook is not None:
            lexicon.entry["visual_words"] = len(codebook.vectors()) - 1
        manifest = {
            "name": self.data.name,
            "fingerprint": self.fingerprint,
            "prepared": {name: prepared.manifest[name] for name in ("fingerprint", "counts", "near_duplicates")},
            "counts": {"all": _counts(prepared.labels[self.rows])}
            | {name: _counts(prepared.labels[rows]) for name, rows in self.split.sides().items()},
            "left_out": {
                "by_reason": count_reasons(self.left_out),
                "articles": [vars(item) for item in self.left_out],
            },
            "settings": settings,
            "vocabulary": lexicon.entry,
            "split": self._side_ids(),
        }
        if self.transformer is not None:
            manifest["vectors"] = self.transformer.entry
        if self.split.leaks is not None:
            manifest["leaks"] = {**self.split.leaks, "dropped": self.data.drop_leaks}
        visual = lexicon.table if codebook is None else torch.from_numpy(codebook.vectors())
        if patches is not None:
            manifest["patches"] = describe_patches(self.prepared, patches)
            visual = torch.zeros(1, patches.dim)  # padding alone
            if self.captioner.standardise:  # type: ignore[attr-defined]  # see Captioner.gives_vectors
                lexicon.standardisers["visual"] = fit_patch_standardiser(patches, training)
        texts = prepared.text_signatures(training[prepared.has_text()[training]])
        return Artifacts(lexicon.tokenizer, lexicon.table, visual, codebook, manifest, texts, lexicon.standardisers)

    def _check_unchanged(self, stored: Artifacts) -> None:
        if stored.manifest["fingerprint"] == self.fingerprint:
            return
        then, now = stored.manifest["counts"]["all"], _counts(self.prepared.labels[self.rows])
        raise UserError(
            f"data.root={self.data.root}: the articles or the data settings are not those with which "
            f"{self.artifacts} was made (then {then['fake']} fake and {then['real']} real articles, "
            f"now {now['fake']} and {now['real']}; "
            f"fingerprint then {stored.manifest['fingerprint'][:12]}, now {self.fingerprint[:12]}). "
            "Restore them to continue this run, or start a new run."
        )


def _counts(labels: np.ndarray) -> dict[str, int]:
    fake = int(labels.sum())
    return {"articles": len(labels), "fake": fake, "real": len(labels) - fake}
