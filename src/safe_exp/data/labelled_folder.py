"""Labelled articles from anywhere, encoded as a stored run encoded its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from safe_exp.config import DataConfig
from safe_exp.data.artifacts import Artifacts, data_fingerprint
from safe_exp.data.captioners import captioner_from_plain
from safe_exp.data.encoded import SCORED_AT_ONCE, NewsLoader, encode_prepared
from safe_exp.data.prepared import prepare
from safe_exp.data.reading.articles import LeftOut, count_reasons
from safe_exp.data.sampler import ArticleOrder, GlobalBatches
from safe_exp.data.selection import usable_rows


@dataclass(frozen=True)
class ScoredFolder:
    """Labelled articles, ready to be scored by a stored run."""

    ids: Sequence[str]  # by row of the prepared data set
    left_out: list[LeftOut]
    loader: NewsLoader  # over all articles that can be scored, in their order
    fingerprint: str
    scored: int
    trained_on: int  # articles whose ids stand in the run's own training split
    counts: dict[str, Any]  # of the prepared data set, by class and by what the articles have

    def manifest(self) -> dict[str, Any]:
        """Plain values: what was scored, and what was left out and why."""
        return {
            "fingerprint": self.fingerprint,
            "counts": self.counts,
            "scored": self.scored,
            "left_out": {
                "by_reason": count_reasons(self.left_out),
                "articles": [vars(item) for item in self.left_out],
            },
        }


def encode_folder(data: DataConfig, stored: Artifacts, reads: Sequence[str]) -> ScoredFolder:
    """Prepare articles as the run that `stored` comes from prepared its own: its captioner, its words, its cuts.

    Of `data` only what concerns reading and batching is used. All articles may be of one class.

    Args:
        reads: the modalities that the model reads.
    Raises:
        UserError: nothing there to score.
    """
    settings = stored.manifest["settings"]
    captioner = captioner_from_plain(settings["captioner"])
    prepared = prepare(data, captioner, settings["max_text_tokens"], settings["max_visual_tokens"])
    rows, lacking = usable_rows(prepared, data.require or reads, data)
    encoded = encode_prepared(prepared, stored.tokenizer, stored.codebook)
    loader = NewsLoader(encoded, GlobalBatches(ArticleOrder(rows), max(data.batch_size, SCORED_AT_ONCE)))
    ids = [prepared.ids[row] for row in rows]
    training = set(stored.manifest["split"]["train"])
    return ScoredFolder(
        prepared.ids,
        prepared.left_out + lacking,
        loader,
        data_fingerprint(prepared.fingerprint, settings, {"scored": ids}),
        len(rows),
        sum(article_id in training for article_id in ids),
        prepared.manifest["counts"],
    )
