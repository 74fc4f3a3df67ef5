"""Prepared data set, read back: columns in memory, words and descriptors mapped from disk, bodies read on request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from safe_exp.data.prepared.counts import count_articles
from safe_exp.data.prepared.join import (
    ARTICLES,
    CAPTION_TOKENS,
    DATE_WRITTEN,
    DESCRIPTORS,
    MADE_UP_ID,
    MANIFEST,
    PATCH_HASHES,
    REPEATED_OPENINGS,
    REPEATED_PICTURES,
    SIGNATURES,
    TEXT_TOKENS,
    WORDS,
    is_made_up,
)
from safe_exp.data.reading.articles import LeftOut, count_reasons
from safe_exp.data.splitting.duplicates import compact_signatures, minhash_signature, text_key
from safe_exp.data.splitting.repeated import Carried, Repeats
from safe_exp.system.errors import UserError
from safe_exp.system.files import read_sealed_json, require_unchanged

LOADED_COLUMNS = ("id", "label", "site", "source", "date", "no_visual", "no_visual_detail", "title_words", "text_cut",
           "caption_cut", "group", "descriptor_row")  # fmt: skip
OPTIONAL_COLUMNS = (  # prepared data made by earlier versions, or without such images, lack them
    "descriptor_count", "side", MADE_UP_ID, REPEATED_PICTURES, REPEATED_OPENINGS, PATCH_HASHES, DATE_WRITTEN
)  # fmt: skip
REPEATED_PICTURE, REPEATED_OPENING = "repeated picture", "repeated opening"  # reasons to count by
CONTENT_COLUMNS = ("title", "text", "caption", "image")
READ_ERRORS = (OSError, ValueError, KeyError, AttributeError, EOFError, TypeError, pa.ArrowException)


@dataclass(frozen=True)
class PreparedArticles:
    """A prepared data set of N articles; row i is the same article in every column.

    The matrices are mapped from their files: the memory grows with the rows that are read, not with the collection.
    """

    folder: Path
    manifest: dict[str, Any]  # counts, settings, articles left out, fingerprint: see join.join_parts
    ids: Sequence[str]
    labels: np.ndarray  # (N,) int64, 1 = fake
    sources: Sequence[str | None]
    dates: Sequence[str | None]  # YYYY-MM-DD
    groups: np.ndarray  # (N,) int64: near-duplicates share one
    no_visual: Sequence[str | None]  # reason why there is no image or caption, to count by; None: there is one
    no_visual_detail: Sequence[str | None]  # what was found
    words: Sequence[str]  # the word of number w stands at w - 1
    text_tokens: np.ndarray  # (N, L) int32 word numbers, 0 = padding; mapped
    caption_tokens: np.ndarray  # (N, Lc) int32; mapped
    title_words: np.ndarray  # (N,) int32, number of the text's words that belong to its title
    text_cut: np.ndarray  # (N,) bool: the text was longer
    caption_cut: np.ndarray  # (N,) bool: the caption was longer
    descriptors: np.ndarray | None  # (M, P, F) float32 of M images, mapped; None where sentences describe images
    descriptor_row: np.ndarray  # (N,) row of the article's first image in `descriptors`, or -1
    descriptor_count: np.ndarray  # (N,) number of its images there; they follow one another
    sides: Sequence[str | None]  # train, val or test, where it is given
    made_up_ids: np.ndarray  # (N,) bool: the reader named the article by its place
    repeats: Repeats | None  # pictures and openings that repeat; None: prepared by a version that did not look for them
    patch_hashes: Sequence[Sequence[str] | None] | None = None  # of images in the store of vectors; None: no patches
    dates_written: Sequence[str | None] | None = None  # see `written_date`; None: the order of every date is certain

    @classmethod
    def open(cls, folder: Path) -> PreparedArticles:
        """Read what `join_parts` wrote.

        Raises:
            UserError: a file is missing or damaged.
        """
        try:
            manifest, _ = read_sealed_json(folder / MANIFEST)
            require_unchanged(folder, manifest.get("files"))  # a damaged matrix would be mapped without an error
            present = pq.read_schema(folder / ARTICLES).names
            optional = [name for name in OPTIONAL_COLUMNS if name in present]
            table = pq.read_table(folder / ARTICLES, columns=[*LOADED_COLUMNS, *optional])
            words = pq.read_table(folder / WORDS)["word"].to_pylist()
            text_tokens, caption_tokens = (_map_matrix(folder / name) for name in (TEXT_TOKENS, CAPTION_TOKENS))
            descriptors = _map_matrix(folder / DESCRIPTORS) if (folder / DESCRIPTORS).exists() else None
        except READ_ERRORS as error:
            raise _unreadable(folder, error) from error
        plain = {name: table[name].to_pylist() for name in ("source", "date", "no_visual", "no_visual_detail")}
        numbers = {
            name: table[name].to_numpy()
            for name in ("label", "group", "title_words", "text_cut", "caption_cut", "descriptor_row")
        }
        several = "descriptor_count" in optional
        count = table["descriptor_count"].to_numpy() if several else (numbers["descriptor_row"] >= 0).astype(np.int64)
        return cls(
            folder, manifest, table["id"].to_pylist(), numbers["label"].astype(np.int64), plain["source"],
            plain["date"], numbers["group"], plain["no_visual"], plain["no_visual_detail"], words, text_tokens,
            caption_tokens, numbers["title_words"], numbers["text_cut"], numbers["caption_cut"], descriptors,
            numbers["descriptor_row"], count, table["side"].to_pylist() if "side" in optional else [None] * len(table),
            _read_made_up_ids(table), _read_repeats(table, manifest),
            table[PATCH_HASHES].to_pylist() if PATCH_HASHES in optional else None,
            table[DATE_WRITTEN].to_pylist() if DATE_WRITTEN in optional else None,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the articles and settings, see join.fingerprint."""
        return self.manifest["fingerprint"]

    @property
    def left_out(self) -> list[LeftOut]:
        """Articles of the input that are not in the data set, each with the reason."""
        return [LeftOut(**item) for item in self.manifest["left_out"]["articles"]]

    def has_text(self) -> np.ndarray:
        """Find the articles that have words, (N,) bool."""
        return self.text_tokens[:, 0] > 0 if self.text_tokens.shape[1] else np.zeros(len(self), bool)

    def has_visual(self) -> np.ndarray:
        """Find the articles that have a caption or a described image, (N,) bool."""
        return np.array([reason is None for reason in self.no_visual], bool)

    def image_rows(self, rows: np.ndarray) -> np.ndarray:
        """List the rows in `descriptors` of all images of the articles `rows` (n,) int64: (m,) int64."""
        counts = self.descriptor_count[rows]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # 0, 1, … of each article
        return np.repeat(self.descriptor_row[rows], counts) + within

    def without_repeated_pictures(self) -> PreparedArticles:
        """Take the pictures of every article that carries a repeated one, with their descriptions; counts follow.

        Raises:
            UserError: the data were prepared by a version that did not look for repeats.
        """
        if self.repeats is None:
            raise UserError(
                f"data.drop_repeated=true: {self.folder} was prepared by an older version, which did not look for what "
                "repeats. Remove this folder; it is then made anew."
            )
        carried = self.repeats.pictures
        rows = np.unique(carried.article)
        reasons, details = list(self.no_visual), list(self.no_visual_detail)
        for row, item in zip(carried.article.tolist(), carried.item.tolist(), strict=True):
            reasons[row] = REPEATED_PICTURE
            details[row] = f"it stands under {self.repeats.items['pictures'][item]['articles']} articles"
        captions = _map_matrix(self.folder / CAPTION_TOKENS)  # a mapping of its own: what is written stays in memory
        captions[rows] = 0
        descriptor_row, caption_cut = self.descriptor_row.copy(), self.caption_cut.copy()
        descriptor_row[rows], caption_cut[rows] = -1, False
        descriptor_count = np.where(descriptor_row < 0, 0, self.descriptor_count)
        taken = set(rows.tolist())
        hashes = self.patch_hashes and [None if row in taken else each for row, each in enumerate(self.patch_hashes)]
        sites = pq.read_table(self.folder / ARTICLES, columns=["site"])["site"].to_pylist()
        has_visual = [reason is None for reason in reasons]
        kinds = list(zip(sites, self.labels.tolist(), self.has_text().tolist(), has_visual, strict=True))
        manifest = self.manifest | {
            "counts": count_articles(kinds),
            "without_image_or_caption": count_reasons(LeftOut("", reason, "") for reason in reasons if reason),
        }
        return replace(
            self, manifest=manifest, no_visual=reasons, no_visual_detail=details, caption_tokens=captions,
            descriptor_row=descriptor_row, descriptor_count=descriptor_count, caption_cut=caption_cut,
            repeats=replace(self.repeats, pictures=Carried(rows[:0], rows[:0])),
            patch_hashes=hashes,
        )  # fmt: skip

    def text_signatures(self, rows: np.ndarray) -> np.ndarray:
        """Read the words' fingerprints of the articles `rows` (n,) int64, ascending: see `compact_signatures`."""
        if (self.folder / SIGNATURES).exists():
            return np.load(self.folder / SIGNATURES, mmap_mode="r", allow_pickle=False)[rows]
        texts = self.texts(rows).values()  # an older version kept none: a minute for 200,000 articles
        signatures = [minhash_signature(text) for text in texts]
        return compact_signatures([text_key(text) for text in texts], np.array(signatures).reshape(len(rows), -1))

    def contents(self, rows: np.ndarray) -> Iterator[dict[str, str | None]]:
        """Yield title, text, caption and image path of the articles `rows` (n,) int64, which ascend."""
        wanted = np.asarray(rows)
        start = 0
        with pq.ParquetFile(self.folder / ARTICLES) as file:
            for batch in file.iter_batches(batch_size=1024, columns=list(CONTENT_COLUMNS)):
                inside = wanted[(wanted >= start) & (wanted < start + len(batch))] - start
                if len(inside):
                    yield from batch.take(pa.array(inside)).to_pylist()
                start += len(batch)

    def texts(self, rows: np.ndarray) -> dict[int, str]:
        """Read title and body of the articles `rows` (n,) int64, which ascend; by row."""
        return {
            int(row): f"{content['title']} {content['text']}".strip()
            for row, content in zip(rows, self.contents(rows), strict=True)
        }


def read_words(folder: Path) -> list[str]:
    """Read the words of a prepared data set, in the order of their numbers, and nothing else.

    Raises:
        UserError: a file is missing or damaged.
    """
    try:
        manifest, _ = read_sealed_json(folder / MANIFEST)
        require_unchanged(folder, {name: sum for name, sum in (manifest.get("files") or {}).items() if name == WORDS})
        return pq.read_table(folder / WORDS)["word"].to_pylist()
    except READ_ERRORS as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: Exception) -> UserError:
    return UserError(f"{folder}: the prepared data cannot be read ({error}). Remove this folder; it is then made anew.")


def _read_made_up_ids(table: pa.Table) -> np.ndarray:
    """Find the articles that their reader named, (N,) bool."""
    if MADE_UP_ID in table.column_names:
        return table[MADE_UP_ID].to_numpy().astype(bool)
    return np.array([is_made_up(article_id) for article_id in table["id"].to_pylist()], bool)


def _read_repeats(table: pa.Table, manifest: dict[str, Any]) -> Repeats | None:
    if "repeated" not in manifest or REPEATED_PICTURES not in table.column_names:
        return None
    return Repeats(_unlist(table[REPEATED_PICTURES]), _unlist(table[REPEATED_OPENINGS]), manifest["repeated"])


def _unlist(column: pa.ChunkedArray) -> Carried:
    """Turn a column of lists into pairs of row and element."""
    lists = column.combine_chunks()
    counts = np.diff(lists.offsets.to_numpy())
    return Carried(np.repeat(np.arange(len(lists)), counts), lists.flatten().to_numpy().astype(np.int64))


def _map_matrix(path: Path) -> np.ndarray:
    """Map an .npy file; an empty matrix is read."""
    # Copy on write: PyTorch warns of arrays that are read-only. Nothing is ever written.
    try:
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except ValueError:  # an empty matrix cannot be mapped
        return np.load(path, allow_pickle=False)
