"""A folder or table of labelled articles, encoded as a stored run encoded its own articles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from safe_exp.config import DataConfig, SplitMethod
from safe_exp.data.artifacts import Artifacts, data_fingerprint
from safe_exp.data.captioners import captioner_from_plain
from safe_exp.data.encoded import NewsLoader, encode_prepared
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
    loader: NewsLoader  # over the articles that can be scored, in the order of the data set
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


def encode_folder(data: DataConfig, stored: Artifacts, reads: Sequence[str]) -> ScoredFolder:
    """Prepare and encode articles with the captioner, the vocabulary and the cuts of a stored run.

    All articles may be of one class. Under data.split=given, where some are marked as test articles, these alone are
    scored.

    Args:
        data: the articles, and how to read and batch them; of its split only given sides are used.
        stored: the run's artifacts.
        reads: the modalities that the model reads.
    Raises:
        UserError: the articles cannot be prepared (see `prepare`), or none of them has what the model reads.
    """
    settings = stored.manifest["settings"]
    captioner = captioner_from_plain(settings["captioner"])
    cutting = Cutting.from_settings(settings)
    prepared = prepare(data, captioner, settings["max_text_tokens"], settings["max_visual_tokens"], cutting=cutting)
    rows, lacking = find_usable_rows(prepared, data.require or reads, data, trained=True)
    on_side = _find_scored_side(prepared, data)
    test_ids = {prepared.ids[row] for row in np.flatnonzero(on_side).tolist()}
    rows, lacking = rows[on_side[rows]], [item for item in lacking if item.path in test_ids]
    if not len(rows):
        raise UserError("data.split=given: no article of the given test side has all parts that the model reads.")
    coded = None
    if "vectors" in stored.manifest:
        coder = coder_of_run(stored.manifest["vectors"], stored.tokenizer, batch_size=HIDDEN_STATES_AT_ONCE)
        limits = settings["max_text_tokens"], settings["max_visual_tokens"]
        coded = code_prepared(prepared, coder, data.prepared, *limits, reads)
        prepared = coded.overwrite(prepared)
    encoded = encode_prepared(prepared, stored.tokenizer, stored.codebook, coded).standardised(stored.standardisers)
    loader = NewsLoader(encoded, GlobalBatches(ArticleOrder(rows), max(data.batch_size, encoded.scored_at_once)))
    ids = [prepared.ids[row] for row in rows]
    return ScoredFolder(
        prepared.ids,
        prepared.left_out + lacking,
        loader,
        data_fingerprint(prepared.fingerprint, settings, {"scored": ids}),
        len(rows),
        int((~on_side).sum()),
        find_trained_on(prepared, rows, stored),
        prepared.manifest["counts"],
    )


def _find_scored_side(prepared: PreparedArticles, data: DataConfig) -> np.ndarray:
    """Find the articles to score, (N,) bool: those of the given test side, or all, if no test side is given."""
    on_test = np.array([side == "test" for side in prepared.sides], bool)
    if data.split is SplitMethod.given and on_test.any():
        return on_test
    return np.ones(len(prepared), bool)


def find_trained_on(prepared: PreparedArticles, rows: np.ndarray, stored: Artifacts) -> TrainedOn:
    """Find the articles `rows` (n,) int64 that the run was trained on, by their words and by their ids.

    An id that the reader made up says nothing, nor does an id where the words of the article are others than those that
    the run was trained on: many tables number their rows from 1.
    """
    training = set(stored.manifest["split"]["train"])
    by_id = np.array([prepared.ids[row] in training and not prepared.made_up_ids[row] for row in rows], dtype=bool)
    copied = np.zeros(len(rows), dtype=bool)
    if stored.training_texts is not None:
        has_text = prepared.has_text()[rows]
        copied[has_text] = find_copies(prepared.text_signatures(rows[has_text]), stored.training_texts)
        by_id &= copied | ~has_text
    return TrainedOn(*([prepared.ids[row] for row in rows[found]] for found in (by_id, copied & ~by_id)))
