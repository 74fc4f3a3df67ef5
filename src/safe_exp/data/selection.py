"""Which of the prepared articles a run uses, and what a split looks at of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from safe_exp.config import DataConfig
from safe_exp.data.prepared import PreparedArticles
from safe_exp.data.prepared.parts import refusal
from safe_exp.data.reading.articles import LeftOut, count_reasons
from safe_exp.data.splitting.splits import Split, SplitColumns
from safe_exp.system.errors import UserError


def usable_rows(
    prepared: PreparedArticles, required: Sequence[str], data: DataConfig
) -> tuple[np.ndarray, list[LeftOut]]:
    """Rows of the articles that have what is required, ascending, and the others with what they lack.

    Raises:
        UserError: no article has it, or with `data.strict` the first that has not.
    """
    has = {"text": prepared.has_text(), "visual": prepared.has_visual()}
    usable = np.logical_and.reduce([has[modality] for modality in required])
    lacking = [
        LeftOut(prepared.ids[row], "no title and no text", "only an image")
        if not has["text"][row] and "text" in required
        else LeftOut(prepared.ids[row], prepared.no_visual[row], prepared.no_visual_detail[row] or "")
        for row in np.flatnonzero(~usable)
    ]
    if lacking and data.strict:
        raise UserError(refusal(lacking[0]))
    if not usable.any():
        reasons = "; ".join(f"{count} × {reason}" for reason, count in count_reasons(lacking).items())
        raise UserError(
            f"data.root={data.root}: none of the {len(prepared)} articles has {' and '.join(required)} "
            f"({reasons}; for example {lacking[0].path}: {lacking[0].detail}). Take a model that needs less "
            "(model=text_only reads no image, model=visual_only no text), or another captioner "
            "(captioner=visual_words reads the images themselves, captioner=file a sentence about each)."
        )
    return np.flatnonzero(usable), lacking


def require_both_classes(labels: np.ndarray, root: str, left_out: Sequence[LeftOut]) -> None:
    """Nothing can be learned from one class, though such a folder can be scored."""
    if len(set(labels.tolist())) == 2:
        return
    have, lack = ("fake", "real") if labels[0] else ("real", "fake")
    reasons = "; ".join(f"{count} × {reason}" for reason, count in count_reasons(left_out).items()) or "none"
    raise UserError(
        f"data.root={root}: all {len(labels)} usable articles are {have}, none is {lack}; a classifier needs both. "
        f"Left out: {reasons}. Point data.root at articles of both classes."
    )


def split_columns(prepared: PreparedArticles, rows: np.ndarray) -> SplitColumns:
    """What decides where an article may stand, for these rows."""
    return SplitColumns(
        ids=[prepared.ids[row] for row in rows],
        labels=prepared.labels[rows],
        groups=prepared.groups[rows],
        sources=[prepared.sources[row] for row in rows],
        dates=[prepared.dates[row] for row in rows],
    )


def split_of_rows(split: Split, rows: np.ndarray) -> Split:
    """The split with the rows that `rows` stands for."""
    sides = {name: rows[side] for name, side in split.sides().items()}
    return replace(split, **sides, unplaced={reason: rows[left] for reason, left in split.unplaced.items()})


def unplaced(prepared: PreparedArticles, split: Split) -> list[LeftOut]:
    """The articles that stand on no side of the split."""
    return [
        LeftOut(prepared.ids[row], reason, "it stands on no side of this split")
        for reason, left in split.unplaced.items()
        for row in left
    ]
