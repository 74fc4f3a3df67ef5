"""Summary of the data in a dozen lines, printed before the first epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from safe_exp.config import DataConfig, SplitMethod
from safe_exp.data.artifacts import VocabularyEntry
from safe_exp.data.prepared import PreparedArticles
from safe_exp.data.prepared.counts import describe_images
from safe_exp.data.reading.articles import LeftOut, count_reasons, list_reasons
from safe_exp.data.splitting.splits import Split
from safe_exp.data.word_cutters import AUTO

MOST_UNKNOWN = 0.3  # share of tokens outside the vocabulary, above which a run warns


def summarise_data(
    data: DataConfig,
    prepared: PreparedArticles,
    rows: np.ndarray,
    left_out: Sequence[LeftOut],
    split: Split,
    vocabulary: VocabularyEntry,
    patches: Mapping[str, Any] | None = None,
) -> list[tuple[str, str]]:
    """Describe the articles, the split, the vocabulary and the vectors as one (name, text) pair a line.

    Args:
        rows: rows of the articles that are used, (n,) int64.
        left_out: the articles that are not used.
        split: rows on each side.
        vocabulary: the entry "vocabulary" of the data manifest.
        patches: its entry "patches", of a run that reads vectors of patches.
    """
    labels = prepared.labels
    lines = [("articles", _by_class(labels[rows]))]
    counts = prepared.manifest["counts"]["all"]
    if counts["with_both"] < counts["articles"]:
        lines.append(
            ("modalities", f"of {counts['articles']:,}: {counts['with_text']:,} with text, {counts['with_visual']:,} "
             f"with an image or caption, {counts['with_both']:,} with both")
        )  # fmt: skip
    images = prepared.manifest.get("images")
    if images and images["used"] < images["named"]:
        lines.append(("images", describe_images(images, prepared.manifest["settings"]["max_visual_tokens"])))
    lines += [(name, _by_class(labels[side])) for name, side in split.sides().items()]
    share = labels[split.test].mean()
    lines.append(("majority rate", f"{max(share, 1 - share):.3f} of test: the accuracy of always giving one answer"))
    lines.append(("split", _describe_split(data, split)))
    if left_out:
        reasons = list_reasons(count_reasons(left_out))
        lines.append(("left out", f"{len(left_out)}: {reasons}; artifacts/data_manifest.json lists them"))
    if split.leaks is not None:
        lines.append(("leaks", _describe_leaks(data, split.leaks)))
    elif split.near_duplicates:
        lines.append(("near-duplicates", f"{split.near_duplicates} articles have one; they stand on one side together"))
    if split.publishers:
        lines.append(("publishers", f"{split.publishers}, {split.shared_publishers} of them on more than one side"))
    lines.append(("vocabulary", _describe_vocabulary(data, vocabulary)))
    if "unknown" in vocabulary:  # not stored by an earlier version
        lines.append(("unknown words", _describe_unknown(vocabulary["unknown"])))
    lines.append(("vectors", _describe_vectors(vocabulary)))
    if patches is not None:
        lines.append(("patches", f"vectors of {patches['dim']} numbers each, in place of words about the images"))
    texts = f"{prepared.text_cut[rows].mean():.1%} of texts after {data.max_text_tokens} tokens"
    captions = f", {prepared.caption_cut[rows].mean():.1%} of captions after {data.max_visual_tokens}"
    lines.append(("cut", texts + ("" if vocabulary["visual_words"] or patches else captions)))
    return lines


def unknown_words_warning(data: DataConfig, vocabulary: VocabularyEntry) -> str | None:
    """Write a warning if the vocabulary lacks many words of the texts of val or test; else return None."""
    shares = vocabulary.get("unknown", {})
    if max(shares.values(), default=0) <= MOST_UNKNOWN:
        return None
    ways = []
    if data.words != AUTO:
        ways.append("data.words=auto (scripts without spaces are cut by character)")
    if data.min_frequency > 1:
        ways.append("data.min_frequency=1 (words that the training split holds once are kept)")
    ways.append("more articles to train on")
    return (
        f"The vocabulary lacks many words of the articles that are scored: {_describe_unknown(shares)}. To the network "
        f"they are all the same word. Ways out: {'; '.join(ways)}."
    )


def _by_class(labels: np.ndarray) -> str:
    return f"{len(labels):,}: {labels.sum():,} fake, {len(labels) - labels.sum():,} real"


def _describe_split(data: DataConfig, split: Split) -> str:
    part = f"fold {data.fold} of {data.folds}" if data.folds else "one split"
    if data.split is SplitMethod.given:
        return _describe_given(data, split)
    if data.split is SplitMethod.date:
        return "by date: trained on the oldest, tested on the newest"
    if data.split is SplitMethod.source:
        alone = f"; {split.without_source} articles name none and stand alone" if split.without_source else ""
        return f"by publisher, {part}, {split.groups} groups, the largest of {split.largest_group} articles{alone}"
    return f"random, stratified by class, {part}"


def _describe_given(data: DataConfig, split: Split) -> str:
    apart = [key for key in ("val_root", "test_root") if getattr(data, key) is not None]
    column = getattr(getattr(data, "columns", None), "split", None)  # of a table
    where = f" by {' and '.join(f'data.{key}' for key in apart)}" if apart else f" by column {column}" if column else ""
    drawn = f"; val drawn from train by data.val_fraction={data.val_fraction:g}, at random, stratified by class"
    return f"as given{where}{drawn if split.val_drawn else ''}"


def _describe_leaks(data: DataConfig, leaks: dict[str, int]) -> str:
    """Describe the near-duplicates that stand on two given sides."""
    of_test = [f"{leaks[f'{side}_test']} in {side}" for side in ("train", "val") if leaks[f"{side}_test"]]
    found = [f"near-duplicates of test articles: {', '.join(of_test)}"] if of_test else []
    if leaks["train_val"]:
        found.append(f"near-duplicates of validation articles: {leaks['train_val']} in train")
    if not found:
        return "no article nearly copies one of another side"
    way_out = "left out by data.drop_leaks=true" if data.drop_leaks else "data.drop_leaks=true leaves them out"
    return f"{'; '.join(found)}; {way_out}"


def _describe_vocabulary(data: DataConfig, vocabulary: VocabularyEntry) -> str:
    words = f"{vocabulary['words']:,} words that the training split holds {data.min_frequency} times or more"
    if "layer" in vocabulary:
        words = f"{vocabulary['words']:,} tokens of {vocabulary['vectors']}"
    visual = vocabulary["visual_words"]
    return f"{words}; {visual} visual words, clustered from its images" if visual else words


def _describe_unknown(shares: Mapping[str, float]) -> str:
    return " and ".join(f"{share:.1%} of {name}" for name, share in shares.items()) + ", in tokens of their texts"


def _describe_vectors(vocabulary: VocabularyEntry) -> str:
    words, found, source = vocabulary["words"], vocabulary["with_vector"], vocabulary["vectors"]
    if "layer" in vocabulary:
        kind = f"hidden states of layer {vocabulary['layer']}" if vocabulary["layer"] else "input embeddings"
        return f"{kind}, {vocabulary['dim']} numbers each"
    if source is None:
        return f"random, {vocabulary['dim']} numbers each"
    share = f"{found:,} of {words:,} words ({found / words:.1%})"
    return f"{source}, {vocabulary['dim']} numbers each: {share}, the others random"
