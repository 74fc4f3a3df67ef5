"""A folder or table of labelled articles, encoded as a stored run encoded its own articles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from safe_exp.config import DataConfig, SplitMethod
from safe_exp.data.artifacts import Artifacts, data_fingerprint
from safe_exp.data.encoded import EncodedArticles, NewsLoader, encode_prepared
from safe_exp.data.patch_vectors import join_patches, reads_patches
from safe_exp.data.prepared import PreparedArticles, prepare
from safe_exp.data.reading.articles import LeftOut, count_reasons
from safe_exp.data.sampler import ArticleOrder, GlobalBatches
from safe_exp.data.selection import find_usable_rows
from safe_exp.data.splitting.duplicates import find_copies
from safe_exp.data.text import Cutting
from safe_exp.data.transformer.coder import coder_of_run
from safe_exp.data.transformer.prepared_texts import code_prepared
from safe_exp.system.errors import UserError

HIDDEN_STATES_AT_ONCE = 8  # windows of texts


class TrainedOn(NamedTuple):
    """Ids of the scored articles that the run was trained on."""

    by_id: list[str]  # as far as the words agree, where both have some
    by_words: list[str]  # other articles with the words of a training article, or nearly its words


@dataclass(frozen=True)
class ScoredFolder:
    """Labelled articles, ready to be scored by a stored run."""

    ids: Sequence[str]  # of the prepared data set, by row
    left_out: list[LeftOut]
    loaders: list[NewsLoader]  # for each of the artifacts, over the articles that can be scored, in the same order
    fingerprint: str
    scored: int  # number of articles that can be scored
    other_sides: int  # number of articles that are not scored, since they are on a given side other than test
    trained_on: TrainedOn
    counts: dict[str, Any]  # articles of the prepared data set by class and modality, as its manifest has them

    def manifest(self) -> dict[str, Any]:
        """Return the number of articles scored, and those left out with the reasons, as plain values."""
        return {
            "fingerprint": self.fingerprint,
            "counts": self.counts,
            "scored": self.scored,
            "trained_on": self.trained_on._asdict(),
            **({"other_sides": self.other_sides} if self.other_sides else {}),
            "left_out": {
                "by_reason": count_reasons(self.left_out),
                "articles": [vars(item) for item in self.left_out],
            },
        }


def encode_folder(
    data: DataConfig, stored: Sequence[Artifacts], reads: Sequence[str], trained: Sequence[Artifacts] = ()
) -> ScoredFolder:
    """Prepare and encode articles with the captioner, the vocabulary and the cuts of a stored run, or of several.

    All articles may be of one class. Under data.split=given, where some are marked as test articles, these alone are
    scored.

    Args:
        data: the articles, and how to read and batch them; of its split only given sides are used.
        stored: the artifacts of each run. The runs have one captioner, and cut texts into the same words.
        reads: the modalities that the model reads.
        trained: the artifacts of further runs, whose training articles count too.
    Raises:
        UserError: the articles cannot be prepared (see `prepare`), or none of them has what the model reads.
    """
    settings = stored[0].manifest["settings"]
    every = {cut: _prepare_cut(data, stored[0], reads, cut) for cut in dict.fromkeys(map(_longest_sentences, stored))}
    prepared = every[_longest_sentences(stored[0])]
    if any(list(other.ids) != list(prepared.ids) for other in every.values() if other is not prepared):
        raise UserError(f"data.root={data.root}: the articles changed while they were read. Give the command again.")
    rows, lacking = find_usable_rows(prepared, data.require or reads, data, trained=True)
    on_side = _find_scored_side(prepared, data)
    test_ids = {prepared.ids[row] for row in np.flatnonzero(on_side).tolist()}
    rows, lacking = rows[on_side[rows]], [item for item in lacking if item.path in test_ids]
    if not len(rows):
        raise UserError("data.split=given: no article of the given test side has all parts that the model reads.")
    encoded = [_encode(every[_longest_sentences(each)], data, each, reads) for each in stored]
    at_once = max(data.batch_size, min(each.scored_at_once for each in encoded))
    batches = GlobalBatches(ArticleOrder(rows), at_once)
    ids = [prepared.ids[row] for row in rows]
    return ScoredFolder(
        prepared.ids,
        prepared.left_out + lacking,
        [NewsLoader(each, batches) for each in encoded],
        data_fingerprint(prepared.fingerprint, settings, {"scored": ids}),
        len(rows),
        int((~on_side).sum()),
        find_trained_on(prepared, rows, [*stored, *trained]),
        prepared.manifest["counts"],
    )


def _longest_sentences(stored: Artifacts) -> tuple[int, int]:
    """Return the most words that a run reads of a text and of an image's sentence."""
    settings = stored.manifest["settings"]
    return settings["max_text_tokens"], settings["max_visual_tokens"]


def _prepare_cut(
    data: DataConfig, stored: Artifacts, reads: Sequence[str], longest: tuple[int, int]
) -> PreparedArticles:
    cutting = Cutting.from_settings(stored.manifest["settings"])
    return prepare(data, stored.captioner(reads), *longest, cutting=cutting)


def _encode(prepared: PreparedArticles, data: DataConfig, stored: Artifacts, reads: Sequence[str]) -> EncodedArticles:
    """Encode prepared articles as a stored run encoded its own."""
    coded = None
    if "vectors" in stored.manifest:
        coder = coder_of_run(stored.manifest["vectors"], stored.tokenizer, batch_size=HIDDEN_STATES_AT_ONCE)
        coded = code_prepared(prepared, coder, data.prepared, *_longest_sentences(stored), reads)
        prepared = coded.overwrite(prepared)
    patches = join_patches(prepared) if reads_patches(prepared, reads) else None
    encoded = encode_prepared(prepared, stored.tokenizer, stored.codebook, coded, patches)
    return encoded.standardised(stored.standardisers)


def _find_scored_side(prepared: PreparedArticles, data: DataConfig) -> np.ndarray:
    """Find the articles to score, (N,) bool: those of the given test side, or all, if no test side is given."""
    on_test = np.array([side == "test" for side in prepared.sides], bool)
    if data.split is SplitMethod.given and on_test.any():
        return on_test
    return np.ones(len(prepared), bool)


def find_trained_on(prepared: PreparedArticles, rows: np.ndarray, stored: Sequence[Artifacts]) -> TrainedOn:
    """Find the articles `rows` (n,) int64 that any of the runs was trained on, by their words and by their ids.

    An id that the reader made up says nothing, nor does an id where the words of the article are others than those that
    the run was trained on: many tables number their rows from 1.
    """
    has_text = prepared.has_text()[rows]
    remembered = any(each.training_texts is not None for each in stored)
    signatures = prepared.text_signatures(rows[has_text]) if remembered else None
    by_id, copied = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    for each in {id(each): each for each in stored}.values():
        training = set(each.training_ids)
        named = np.array([prepared.ids[row] in training and not prepared.made_up_ids[row] for row in rows], dtype=bool)
        if each.training_texts is not None:
            found = np.zeros(len(rows), dtype=bool)
            found[has_text] = find_copies(signatures, each.training_texts)
            named &= found | ~has_text
            copied |= found
        by_id |= named
    return TrainedOn(*([prepared.ids[row] for row in rows[found]] for found in (by_id, copied & ~by_id)))
