"""Joining parts into one data set: articles as Parquet, words as numbers in a matrix, near-duplicates found, counts.

The memory holds one part at a time, the list of different words, and a few hundred bytes for each article.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from safe_exp.data.prepared.counts import Kind, count_articles
from safe_exp.data.prepared.parts import DESCRIPTOR_SHAPE, LEFT_OUT, SCHEMA
from safe_exp.data.reading.articles import LeftOut, count_reasons, list_reasons
from safe_exp.data.splitting.duplicates import compact_signatures, near_duplicate_groups
from safe_exp.data.splitting.repeated import Carried, Repeats, find_repeats, opening
from safe_exp.data.text import without_needless_auto
from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UserError
from safe_exp.system.files import checksums, write_sealed_json

FORMAT_VERSION = 2  # raised when the files change, so that older folders are made anew
ARTICLES, WORDS, MANIFEST = "articles.parquet", "words.parquet", "manifest.json"
TEXT_TOKENS, CAPTION_TOKENS, DESCRIPTORS = "text_tokens.npy", "caption_tokens.npy", "descriptors.npy"
SIGNATURES = "text_signatures.npy"
REPEATED_PICTURES, REPEATED_OPENINGS, MADE_UP_ID = "repeated_pictures", "repeated_openings", "made_up_id"
PATCH_HASHES, DATE_WRITTEN = "patch_hashes", "date_written"
KEPT_COLUMNS = (  # columns of a part that the data set keeps; the others become matrices or groups
    "id", "label", "site", "source", "date", "title", "text", "caption", "image", "no_visual", "no_visual_detail",
    "title_words", "text_cut", "caption_cut", "side",
)  # fmt: skip


def join_parts(
    paths: Sequence[Path],
    stray: Sequence[LeftOut],
    settings: dict[str, Any],
    folder: Path,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """Write the data set of these parts, in their order, into `folder`; the manifest comes last, and is returned.

    Args:
        stray: articles that the listing left out, before a part was read.
        settings: settings that shaped the parts, as plain values; a `words: auto` that changed nothing is not recorded.
        advance: called with 1 for each part, in both passes.
    Raises:
        UserError: no part holds an article.
    """
    seen: dict[str, str | None] = {}
    columns = _Columns()
    left_out = list(stray)
    for path in paths:  # first pass: gather what the second needs to know of all articles
        part = _read_part(path)
        fresh, repeated = _without_repeated_ids(part, seen)
        left_out += [LeftOut(**item) for item in json.loads(part.schema.metadata[LEFT_OUT])] + repeated
        columns.add(fresh, json.loads(part.schema.metadata[DESCRIPTOR_SHAPE]))
        advance(1)
    if not columns.ids:
        raise UserError(_explain_no_article(left_out))
    signatures = np.concatenate(columns.minhash)
    duplicates = near_duplicate_groups(
        columns.text_keys, signatures, list(chain.from_iterable(columns.image_hashes)),
        np.array(list(chain.from_iterable(columns.perceptual_hashes)), np.uint64),
        np.repeat(np.arange(len(columns.ids)), list(map(len, columns.image_hashes))),
    )  # fmt: skip
    labels = np.array([label for _, label, *_ in columns.kinds])
    repeats = find_repeats(columns.ids, labels, duplicates.story, columns.openings, columns.read_pictures)
    np.save(folder / SIGNATURES, compact_signatures(columns.text_keys, signatures), allow_pickle=False)
    _write_articles(paths, columns, duplicates.group, repeats, folder, advance)
    settings = without_needless_auto(settings, columns.words)
    left_out.sort(key=lambda item: item.path)
    manifest = {
        "format": FORMAT_VERSION,
        "fingerprint": fingerprint(columns.digests, settings),
        "settings": settings,
        "counts": count_articles(columns.kinds),
        "left_out": {"by_reason": count_reasons(left_out), "articles": [asdict(item) for item in left_out]},
        "without_image_or_caption": columns.no_visual,
        "near_duplicates": {name: value for name, value in asdict(duplicates).items() if isinstance(value, int)},
        "repeated": repeats.items,
        "words": len(columns.words),
        **({} if columns.images is None else {"images": columns.images}),
        "files": checksums(folder, sorted(path.name for path in folder.iterdir())),
    }
    write_sealed_json(folder / MANIFEST, manifest)
    return manifest


def is_made_up(article_id: str) -> bool:
    """Tell if an id looks like those that readers make up, such as row 3; older prepared data do not say it."""
    return re.fullmatch(r"row \d+", article_id) is not None


def fingerprint(digests: Sequence[str], settings: dict[str, Any]) -> str:
    """SHA-256 of the articles' digests and the settings: the same on every machine and in every folder."""
    return json_digest([settings, list(digests)])


class _Columns:
    """Columns of all articles that are held in memory."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.digests: list[str] = []
        self.text_keys: list[str] = []
        self.image_hashes: list[list[str]] = []  # of all images of each article
        self.minhash: list[np.ndarray] = []
        self.perceptual_hashes: list[list[int]] = []
        self.read_pictures: list[list[int]] = []  # perceptual hashes of those that the network reads
        self.kinds: list[Kind] = []
        self.openings: list[str] = []
        self.made_up_ids: list[bool] = []
        self.no_visual: dict[str, int] = {}
        self.words: dict[str, int] = {}  # from 1, in the order in which they first appear
        self.text_width = self.caption_width = self.described = 0
        self.descriptor_shape: list[int] | None = None
        self.images: dict[str, Any] | None = None  # numbers of images; None where captions were read
        self.dates_written = False  # in an order that is not certain
        self.patches = False  # vectors of images' patches are their sentence

    def add(self, part: pa.Table, descriptor_shape: list[int] | None) -> None:
        """Append the columns of a part, with the shape [P, F] of its descriptors if it has some."""
        self.descriptor_shape = self.descriptor_shape or descriptor_shape
        self.ids += part["id"].to_pylist()
        self.digests += part["digest"].to_pylist()
        self.text_keys += part["text_key"].to_pylist()
        bodies, titles = part["text"].to_pylist(), part["title"].to_pylist()
        self.openings += [opening(body) or opening(title) for body, title in zip(bodies, titles, strict=True)]
        self.made_up_ids += [  # an interrupted preparation of an older version does not say it
            is_made_up(article_id) if known is None else known
            for article_id, known in zip(part["id"].to_pylist(), part[MADE_UP_ID].to_pylist(), strict=True)
        ]
        self.image_hashes += _list_hashes(part, "image_hash")
        hashes, beyond = _list_hashes(part, "perceptual_hash"), part["images_beyond"].to_pylist()
        self.perceptual_hashes += hashes
        self.read_pictures += [each[: len(each) - (left or 0)] for each, left in zip(hashes, beyond, strict=True)]
        self._count_images(part)
        self.patches |= part[PATCH_HASHES].null_count < len(part)
        self.dates_written |= part[DATE_WRITTEN].null_count < len(part)
        if len(part):
            self.minhash.append(np.asarray(_flatten(part["minhash"])).reshape(len(part), -1))
        text, caption = _lengths(part["text_words"]), _lengths(part["caption_words"])
        self.text_width = max(self.text_width, *text.tolist(), 0)
        self.caption_width = max(self.caption_width, *caption.tolist(), 0)
        reasons = part["no_visual"].to_pylist()
        for site, label, words, reason in zip(
            part["site"].to_pylist(), part["label"].to_pylist(), text.tolist(), reasons, strict=True
        ):
            self.kinds.append((site, label, words > 0, reason is None))
            if reason is not None:
                self.no_visual[reason] = self.no_visual.get(reason, 0) + 1
        self.described += int(_described(part, self.descriptor_shape).sum())
        for column in ("text_words", "caption_words"):
            for word in _flatten(part[column]).unique().to_pylist():
                self.words.setdefault(word, len(self.words) + 1)

    def carried(self) -> list[str]:
        """Name the columns of the parts that the articles have only where some article fills them."""
        filled = {DATE_WRITTEN: self.dates_written, PATCH_HASHES: self.patches}
        return [name for name in filled if filled[name]]

    def _count_images(self, part: pa.Table) -> None:
        used = part["images_used"].drop_null().to_pylist()
        if not used:
            return
        images = self.images = self.images or {"named": 0, "used": 0, "beyond_max_visual_tokens": 0, "unusable": {}}
        beyond = sum(part["images_beyond"].drop_null().to_pylist())
        lost = _flatten(part["images_lost"]).to_pylist()
        images["used"] += sum(used)
        images["beyond_max_visual_tokens"] += beyond
        images["named"] += sum(used) + beyond + len(lost)
        for reason in lost:
            images["unusable"][reason] = images["unusable"].get(reason, 0) + 1


def _write_articles(
    paths: Sequence[Path],
    columns: _Columns,
    group: np.ndarray,
    repeats: Repeats,
    folder: Path,
    advance: Callable[[int], None],
) -> None:
    """Write the articles and the matrices, part by part: the second pass.

    Args:
        group: group of near-duplicates of each article, (N,) int64.
        repeats: the pictures and openings that repeat.
    """
    count = len(columns.ids)
    texts = _create_matrix(folder / TEXT_TOKENS, (count, columns.text_width), np.int32)
    captions = _create_matrix(folder / CAPTION_TOKENS, (count, columns.caption_width), np.int32)
    shape = columns.descriptor_shape
    described = _create_matrix(folder / DESCRIPTORS, (columns.described, *shape), np.float32) if shape else None
    seen: dict[str, str | None] = {}
    row = image_row = 0
    schema = pa.schema(
        [
            *(SCHEMA.field(name) for name in KEPT_COLUMNS),
            ("group", pa.int64()),
            ("descriptor_row", pa.int64()),
            ("descriptor_count", pa.int64()),
            (MADE_UP_ID, pa.bool_()),
            (REPEATED_PICTURES, pa.list_(pa.int32())),
            (REPEATED_OPENINGS, pa.list_(pa.int32())),
            *(SCHEMA.field(name) for name in columns.carried()),
        ]
    )
    carried = _list_by_article(repeats.pictures, count), _list_by_article(repeats.openings, count)
    with pq.ParquetWriter(folder / ARTICLES, schema, compression="zstd") as writer:
        for path in paths:
            part, _ = _without_repeated_ids(_read_part(path), seen)
            end = row + len(part)
            texts[row:end] = _number_words(part["text_words"], columns.words, columns.text_width)
            captions[row:end] = _number_words(part["caption_words"], columns.words, columns.caption_width)
            images = _described(part, shape)
            rows = np.where(images > 0, image_row + np.cumsum(images) - images, -1)
            if described is not None and images.any():
                found = np.asarray(_flatten(part["descriptors"])).reshape(-1, *shape)
                described[image_row : image_row + len(found)] = found
            image_row += int(images.sum())
            kept = part.select(KEPT_COLUMNS).append_column("group", pa.array(group[row:end]))
            kept = kept.append_column("descriptor_row", pa.array(rows))
            kept = kept.append_column("descriptor_count", pa.array(images))
            kept = kept.append_column(MADE_UP_ID, pa.array(columns.made_up_ids[row:end], pa.bool_()))
            for name, items in zip((REPEATED_PICTURES, REPEATED_OPENINGS), carried, strict=True):
                kept = kept.append_column(name, items.slice(row, end - row))
            for name in columns.carried():
                kept = kept.append_column(name, part[name])
            writer.write_table(kept.cast(schema))
            row = end
            advance(1)
    for matrix in (texts, captions, described):
        if isinstance(matrix, np.memmap):
            matrix.flush()
    pq.write_table(pa.table({"word": list(columns.words)}), folder / WORDS, compression="zstd")


def _read_part(path: Path) -> pa.Table:
    """Read a part; columns that an earlier version did not write are empty."""
    part = pq.read_table(path)
    for name in SCHEMA.names:
        if name not in part.column_names:
            part = part.append_column(SCHEMA.field(name), pa.nulls(len(part), SCHEMA.field(name).type))
    return part


def _without_repeated_ids(part: pa.Table, seen: dict[str, str | None]) -> tuple[pa.Table, list[LeftOut]]:
    """Drop rows with an id that is in `seen`, and add the other ids to it; return the rows kept, and those dropped.

    An id that came before on another given side is another article: many data sets count from 0 on each side. The side
    comes in front of the later one, as in test/17.

    Args:
        seen: side of each id so far; None where none is given.
    """
    ids, keep, repeated = part["id"].to_pylist(), [], []
    for row, side in enumerate(part["side"].to_pylist()):
        if side is not None and side != seen.get(ids[row], side):
            ids[row] = f"{side}/{ids[row]}"
        keep.append(ids[row] not in seen)
        if ids[row] in seen:
            repeated.append(LeftOut(ids[row], "id occurs before", "the first article of this id is kept"))
        seen.setdefault(ids[row], side)
    renamed = part.set_column(part.column_names.index("id"), SCHEMA.field("id"), pa.array(ids, pa.string()))
    return (renamed, []) if all(keep) else (renamed.filter(pa.array(keep)), repeated)


def _list_hashes(part: pa.Table, name: str) -> list[list[Any]]:
    """List the hashes of all images of each article; those of several stand in a column of their own."""
    only, several = part[name].to_pylist(), part[f"{name}es"].to_pylist()
    return [many or ([] if one is None else [one]) for one, many in zip(only, several, strict=True)]


def _described(part: pa.Table, shape: Sequence[int] | None) -> np.ndarray:
    """Count the images of each article that have descriptors of this shape [P, F]: (B,) int64."""
    return _lengths(part["descriptors"]) // (math.prod(shape) if shape else 1)


def _create_matrix(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Create an .npy file of this shape, and map it for writing."""
    if 0 in shape:  # an empty file cannot be mapped
        matrix: np.ndarray = np.zeros(shape, dtype)
        np.save(path, matrix, allow_pickle=False)
        return matrix
    return np.lib.format.open_memmap(path, "w+", dtype, shape)


def _number_words(words: pa.ChunkedArray, numbers: dict[str, int], width: int) -> np.ndarray:
    """Replace B lists of words by their numbers: (B, width) int32, filled up with 0."""
    lengths = _lengths(words)
    matrix = np.zeros((len(lengths), width), np.int32)
    encoded = _flatten(words).dictionary_encode()
    dictionary = np.array([numbers[word] for word in encoded.dictionary.to_pylist()], np.int32)
    columns = np.arange(width) < lengths[:, None]  # (B, width)
    if len(dictionary):
        matrix[columns] = dictionary[encoded.indices.to_numpy()]
    return matrix


def _flatten(lists: pa.ChunkedArray) -> pa.Array:
    """Concatenate a column of lists into one array."""
    flat = lists.combine_chunks()
    return (flat.chunk(0) if isinstance(flat, pa.ChunkedArray) else flat).flatten()


def _lengths(lists: pa.ChunkedArray) -> np.ndarray:
    """Count the elements of each list of a column: (B,) int64, 0 for a missing list."""
    import pyarrow.compute as pc

    return pc.list_value_length(lists).fill_null(0).to_numpy().astype(np.int64)


def _list_by_article(carried: Carried, count: int) -> pa.ListArray:
    """List the items that each of `count` articles carries, as a column of lists."""
    order = np.argsort(carried.article, kind="stable")
    ends = np.cumsum(np.bincount(carried.article, minlength=count))
    return pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], ends]), pa.int32()), pa.array(carried.item[order], pa.int32())
    )


def _explain_no_article(left_out: Sequence[LeftOut]) -> str:
    reasons = list_reasons(count_reasons(left_out)) or "none"
    example = f" (for example {left_out[0].path}: {left_out[0].detail})" if left_out else ""
    return f"no usable article. Left out: {reasons}{example}."
