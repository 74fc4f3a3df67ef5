"""A few articles as the network will see them, so that a wrong column or label is noticed before a training."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from safe_exp.data.prepared.store import PreparedArticles
from safe_exp.data.reading.articles import LABELS

COUNT = 3
SHOWN_WORDS = 24  # two lines
WIDTH = 100  # columns, at most


def tabulate_examples(prepared: PreparedArticles) -> Table:
    """Lay out three articles by their words, image, label and side, from the numbers that batches are made of."""
    table = Table(title="As the network will see them", show_header=False, title_justify="left")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(max_width=WIDTH - 15, overflow="ellipsis")
    for row in pick_examples(prepared):
        facts = _describe(prepared, row)
        for name, value in facts.items():
            table.add_row(name, Text(value), end_section=name == list(facts)[-1])  # Text: no markup in it is obeyed
    return table


def pick_examples(prepared: PreparedArticles) -> list[int]:
    """Pick at most three rows, ascending: one of each class, and the one nearest the middle of the others.

    Articles that have both text and image or caption go first.
    """
    lacking = ~(prepared.has_text() & prepared.has_visual())  # (N,)
    first = np.argsort(lacking, kind="stable")
    picked = [int(of_class[0]) for label in LABELS.values() if len(of_class := first[prepared.labels[first] == label])]
    middle = np.lexsort((np.abs(np.arange(len(prepared)) - len(prepared) // 2), lacking))
    picked += [int(row) for row in middle if row not in picked][: COUNT - len(picked)]
    return sorted(picked)


def advise_on_images(prepared: PreparedArticles) -> str:
    """Name the setting that may find an image or a sentence for articles of which none has one."""
    images = prepared.manifest.get("images", {})
    if images.get("named") and not images["used"]:
        return (
            "name the folder in which the images lie, as in data.images=FOLDER for a table; the reasons "
            "name the files that were looked for"
        )
    if prepared.manifest["settings"]["captioner"]["name"] == "file":
        return (
            "captioner=visual_words reads the images themselves; captioner=file, the default, only a sentence about "
            "each, from a file beside the article or from data.columns.caption"
        )
    return "captioner=file reads a sentence about each image, where you have them"


def _describe(prepared: PreparedArticles, row: int) -> dict[str, str]:
    """Describe the article of a row by name and value."""
    words = _read_words(prepared, prepared.text_tokens[row])
    title, text = words[: prepared.title_words[row]], words[prepared.title_words[row] :]
    names = {label: name for name, label in LABELS.items()}
    stands = [names[int(prepared.labels[row])], *([side] if (side := prepared.sides[row]) else [])]
    facts = {"article": prepared.ids[row], "label": ", ".join(stands)}
    return facts | {
        "source": f"{prepared.sources[row] or 'no source'}, {prepared.dates[row] or 'no date'}",
        "title": _shorten(title, cut=False),
        "text": _shorten(text, cut=bool(prepared.text_cut[row])),
        "image": _describe_visual(prepared, row),
    }


def _describe_visual(prepared: PreparedArticles, row: int) -> str:
    if reason := prepared.no_visual[row]:
        return f"none: {reason} ({prepared.no_visual_detail[row]})"
    if prepared.patch_hashes is not None:
        pictures = len(prepared.patch_hashes[row] or ())
        return f"the vectors of the patches of {pictures} picture{'s' if pictures > 1 else ''}"
    if prepared.descriptors is not None:
        pictures = int(prepared.descriptor_count[row])
        return f"{pictures * prepared.descriptors.shape[1]} patches, {pictures} picture{'s' if pictures > 1 else ''}"
    return _shorten(_read_words(prepared, prepared.caption_tokens[row]), cut=bool(prepared.caption_cut[row]))


def _read_words(prepared: PreparedArticles, tokens: Any) -> list[str]:
    """Read the words of stored numbers (L,) int32, 0 = padding."""
    return [prepared.words[number - 1] for number in tokens.tolist() if number]


def _shorten(words: list[str], cut: bool) -> str:
    """Join the first words, and tell the number of all if some are not shown."""
    shown = " ".join(words[:SHOWN_WORDS]) or "–"
    if len(words) <= SHOWN_WORDS and not cut:
        return shown
    return f"{shown} … ({len(words)} {'word' if len(words) == 1 else 'words'}{', then cut' if cut else ''})"
