"""What a reader should know of the data before the first epoch, in a dozen lines."""

from collections.abc import Mapping, Sequence

import numpy as np

from safe_exp.config import DataConfig, SplitMethod
from safe_exp.data.articles import Article, LeftOut, count_reasons
from safe_exp.data.encoded import EncodedArticles
from safe_exp.data.splits import Split


def summary_rows(
    data: DataConfig,
    articles: Sequence[Article],
    left_out: Sequence[LeftOut],
    split: Split,
    encoded: EncodedArticles,
    vocabulary: Mapping[str, int | str | None],
) -> list[tuple[str, str]]:
    """(name, text) for each line. `vocabulary`: the entry of that name in the manifest."""
    labels = np.array([article.label for article in articles])
    rows = [("articles", _by_class(labels))]
    rows += [(name, _by_class(labels[side])) for name, side in split.sides().items()]
    share = labels[split.test].mean()
    rows.append(("majority rate", f"{max(share, 1 - share):.3f} of test: the accuracy of always giving one answer"))
    rows.append(("split", _describe_split(data, split)))
    if left_out:
        reasons = "; ".join(f"{count} × {reason}" for reason, count in count_reasons(left_out).items())
        rows.append(("left out", f"{len(left_out)}: {reasons}; the manifest lists them"))
    if split.near_duplicates:
        near = f"{split.near_duplicates} articles are nearly the same as another; such articles stand on one side"
        rows.append(("near-duplicates", near))
    if split.shared_publishers:
        rows.append(("publishers", f"{split.shared_publishers} of {split.publishers} stand on more than one side"))
    for reason, left in split.unplaced.items():
        rows.append(("on no side", f"{len(left)} × {reason}"))
    rows.append(
        (
            "vocabulary",
            f"{vocabulary['words']:,} words that the training split holds {data.min_frequency} times or more",
        )
    )
    rows.append(("vectors", _describe_vectors(vocabulary)))
    texts, sentences = encoded.text.cut / len(encoded), encoded.visual.cut / len(encoded)
    rows.append(
        (
            "cut",
            f"{texts:.1%} of texts after {data.max_text_tokens} tokens, "
            f"{sentences:.1%} of captions after {data.max_visual_tokens}",
        )
    )
    return rows


def _by_class(labels: np.ndarray) -> str:
    return f"{len(labels):,}: {labels.sum():,} fake, {len(labels) - labels.sum():,} real"


def _describe_split(data: DataConfig, split: Split) -> str:
    part = f"fold {data.fold} of {data.folds}" if data.folds else "one split"
    if data.split is SplitMethod.source:
        alone = f"; {split.without_source} articles name none and stand alone" if split.without_source else ""
        return f"by publisher, {part}, {split.groups} groups{alone}"
    if data.split is SplitMethod.date:
        return "by date: trained on the oldest, validated on the next, tested on the newest"
    return f"random, stratified by class, {part}"


def _describe_vectors(vocabulary: Mapping[str, int | str | None]) -> str:
    words, found, source = vocabulary["words"], vocabulary["with_vector"], vocabulary["vectors"]
    if source is None:
        return f"random, {vocabulary['dim']} numbers each"
    share = f"{found:,} of {words:,} words ({found / words:.1%})"
    return f"{source}, {vocabulary['dim']} numbers each: {share}, the others random"
