"""Counts of a prepared data set: articles by site, class and modality, and what became of their images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from safe_exp.data.reading.articles import LABELS, list_reasons, sort_reasons

Kind: TypeAlias = tuple[str | None, int, bool, bool]  # of an article: site, label, has text, has image or caption


def count_articles(kinds: Sequence[Kind]) -> dict[str, Any]:
    """Count articles by site, class and modality, as the paper's data table does."""
    names = {label: name for name, label in LABELS.items()}

    def count(kinds: Sequence[Kind]) -> dict[str, Any]:
        return {
            name: {
                "articles": len(of_class),
                "with_text": sum(text for *_, text, _ in of_class),
                "with_visual": sum(visual for *_, visual in of_class),
                "with_both": sum(text and visual for *_, text, visual in of_class),
            }
            for name, of_class in (
                ("all", kinds),
                *((names[label], [kind for kind in kinds if kind[1] == label]) for label in (1, 0)),
            )
        }

    sites = sorted({site for site, *_ in kinds if site is not None})
    return count(kinds) | {"by_site": {site: count([kind for kind in kinds if kind[0] == site]) for site in sites}}


def describe_images(images: dict[str, Any], max_visual_tokens: int) -> str:
    """Describe the entry "images" of the manifest: 1,234 named, 1,200 used, 30 beyond …; 4 × no image file."""
    parts = [f"{images['named']:,} named, {images['used']:,} used"]
    if beyond := images["beyond_max_visual_tokens"]:
        parts.append(f", {beyond:,} beyond data.max_visual_tokens={max_visual_tokens}")
    unusable = list_reasons(sort_reasons(images["unusable"]))
    return "".join(parts) + (f"; {unusable}" if unusable else "")
