"""The prepared articles that a run uses, and the columns of them that decide its split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from safe_exp.config import DataConfig
from safe_exp.data.prepared import PreparedArticles
from safe_exp.data.prepared.examples import advise_on_images
from safe_exp.data.prepared.parts import explain_unusable
from safe_exp.data.prepared.store import REPEATED_OPENING, REPEATED_PICTURE
from safe_exp.data.reading.articles import LeftOut, count_reasons, list_reasons
from safe_exp.data.splitting.kept import make_or_read_split
from safe_exp.data.splitting.splits import Split, SplitColumns
from safe_exp.system.errors import UserError


def find_usable_rows(
    prepared: PreparedArticles, required: Sequence[str], data: DataConfig, trained: bool = False
) -> tuple[np.ndarray, list[LeftOut]]:
    """Find the articles that have every required modality and, with `data.drop_repeated`, no repeated opening.

    Args:
        required: of "text" and "visual".
        trained: a trained run reads them, so that its model and captioner are fixed.
    Returns:
        Their rows (n,) int64, ascending; and the other articles, each with the reason.
    Raises:
        UserError: no article has all of them; or, with `data.strict`, some article lacks one.
    """
    has = {"text": prepared.has_text(), "visual": prepared.has_visual()}
    usable = np.logical_and.reduce([has[modality] for modality in required])
    dropped = _find_dropped(prepared) if data.drop_repeated else {}
    lacking = [
        LeftOut(prepared.ids[row], "no title and no text", "only an image")
        if not has["text"][row] and "text" in required
        else LeftOut(prepared.ids[row], prepared.no_visual[row], prepared.no_visual_detail[row] or "")
        for row in np.flatnonzero(~usable).tolist()
        if row not in dropped
    ]
    faults = [item for item in lacking if item.reason != REPEATED_PICTURE]
    if faults and data.strict:
        raise UserError(explain_unusable(faults[0]))
    usable[list(dropped)] = False
    lacking += dropped.values()
    if not usable.any():
        reasons = list_reasons(count_reasons(lacking))
        advice = [] if "visual" not in required or has["visual"].any() else [advise_on_images(prepared)]
        if not trained:
            advice.append("take a model that needs less (model=text_only reads no image, model=visual_only no text)")
        way_out = ", or ".join(advice or ["the run cannot do without"])
        raise UserError(
            f"data.root={data.root}: none of the {len(prepared)} articles has {' and '.join(required)} "
            f"({reasons}; for example {lacking[0].path}: {lacking[0].detail}). {way_out[0].upper()}{way_out[1:]}."
        )
    return np.flatnonzero(usable), lacking


def find_split_fault(prepared: PreparedArticles, data: DataConfig) -> str | None:
    """Say why the articles cannot be divided as `data` asks, whatever a model needs of them; None if they can."""
    rows = np.arange(len(prepared))
    try:
        require_both_classes(prepared.labels, data.root, prepared.left_out)
        make_or_read_split(gather_split_columns(prepared, rows), data, prepared.folder)
    except UserError as error:
        return str(error)
    return None


def _find_dropped(prepared: PreparedArticles) -> dict[int, LeftOut]:
    """List the articles with a repeated opening, by row."""
    items = prepared.repeats.items["openings"]
    rows, numbers = prepared.repeats.openings
    return {
        row: LeftOut(
            prepared.ids[row],
            REPEATED_OPENING,
            f"'{items[number]['words']}' begins {items[number]['articles']} articles",
        )
        for row, number in zip(rows.tolist(), numbers.tolist(), strict=True)
    }


def require_both_classes(labels: np.ndarray, root: str, left_out: Sequence[LeftOut]) -> None:
    """Refuse to train on articles of one class; such a folder can be scored all the same.

    Args:
        labels: (n,) 1 = fake, 0 = real; n > 0.
        root: `data.root`, for the message.
    Raises:
        UserError: one of the classes is missing.
    """
    if len(set(labels.tolist())) == 2:
        return
    have, lack = ("fake", "real") if labels[0] else ("real", "fake")
    reasons = list_reasons(count_reasons(left_out)) or "none"
    raise UserError(
        f"data.root={root}: all {len(labels)} usable articles are {have}, none is {lack}; a classifier needs both. "
        f"Left out: {reasons}. Point data.root at articles of both classes."
    )


def gather_split_columns(prepared: PreparedArticles, rows: np.ndarray) -> SplitColumns:
    """Gather the columns that decide on which side each of the articles `rows` (n,) int64 may stand."""
    return SplitColumns(
        ids=[prepared.ids[row] for row in rows],
        labels=prepared.labels[rows],
        groups=prepared.groups[rows],
        sources=[prepared.sources[row] for row in rows],
        dates=[prepared.dates[row] for row in rows],
        sides=[prepared.sides[row] for row in rows],
        dates_written=None if prepared.dates_written is None else [prepared.dates_written[row] for row in rows],
    )


def renumber_split(split: Split, rows: np.ndarray) -> Split:
    """Replace the positions in a split by the rows (n,) int64 that stand at these positions."""
    sides = {name: rows[side] for name, side in split.sides().items()}
    return replace(split, **sides, unplaced={reason: rows[left] for reason, left in split.unplaced.items()})


def list_unplaced(prepared: PreparedArticles, split: Split) -> list[LeftOut]:
    """List the articles that stand on no side of the split, each with the reason."""
    return [
        LeftOut(prepared.ids[row], reason, "it stands on no side of this split")
        for reason, left in split.unplaced.items()
        for row in left
    ]
