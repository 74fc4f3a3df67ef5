"""Parts of the input: a few hundred articles each, read, cleaned, cut into words and described, in one file.

A part depends on its own articles alone. So parts can be made by any process, on any machine, in any order, and those
made before an interruption are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from safe_exp.config import CaptionerConfig
from safe_exp.data.captioners import captioners
from safe_exp.data.gallery import NO_WORDS, Gallery, fill
from safe_exp.data.reading.articles import Article, LeftOut, Picture, name_picture
from safe_exp.data.reading.given_sides import readers_of_one_root
from safe_exp.data.reading.labels import IGNORED
from safe_exp.data.reading.readers import Part, Reader, TakesDownloads
from safe_exp.data.splitting.duplicates import minhash_signature, text_key
from safe_exp.data.text import Cutting, split_words
from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UserError
from safe_exp.system.files import whole_file

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("made_up_id", pa.bool_()),  # the reader named the article by its place
        ("label", pa.int8()),  # 1 = fake
        ("side", pa.string()),  # train, val or test, where it is given
        ("site", pa.string()),
        ("source", pa.string()),  # publisher
        ("date", pa.string()),  # YYYY-MM-DD
        ("date_written", pa.string()),  # where the order of its numbers is not certain: see written_date
        ("title", pa.string()),
        ("text", pa.string()),
        ("caption", pa.string()),  # the sentence that describes the image; empty where there is none
        ("image", pa.string()),  # path of the first file, for people; its content is in the columns below
        ("image_hash", pa.string()),  # SHA-256 of its content
        ("perceptual_hash", pa.uint64()),
        ("image_hashes", pa.list_(pa.string())),  # of all readable images, those beyond room last; null for one
        ("perceptual_hashes", pa.list_(pa.uint64())),
        ("images_used", pa.int32()),  # images whose words the network reads; null where no image is read
        ("images_beyond", pa.int32()),  # images for which max_visual_tokens leaves no room
        ("images_lost", pa.list_(pa.string())),  # reason of each other image that the article names
        ("no_visual", pa.string()),  # reason why there is no image or caption, to count by
        ("no_visual_detail", pa.string()),
        ("digest", pa.string()),  # see article_digest
        ("text_key", pa.string()),  # the same for articles whose text is the same after normalisation
        ("minhash", pa.list_(pa.uint32())),
        ("text_words", pa.list_(pa.string())),
        ("title_words", pa.int32()),  # how many of them belong to the title
        ("text_cut", pa.bool_()),
        ("caption_words", pa.list_(pa.string())),
        ("caption_cut", pa.bool_()),
        ("descriptors", pa.list_(pa.float32())),  # of the images' patches, flattened; null but for visual words
        ("patch_hashes", pa.list_(pa.string())),  # of the images whose vectors are the sentence; null but for patches
    ]
)
LEFT_OUT, DESCRIPTOR_SHAPE = b"left_out", b"descriptor_shape"  # in the file's metadata


@dataclass(frozen=True)
class PartMaker:
    """Makes parts; it is sent to each process that does.

    Args:
        strict: refuse an article that cannot be used.
        home: `data.prepared`, in which descriptions of images are kept; they outlive the parts.
        folder: folder of the parts.
    """

    reader: Reader
    captioner: CaptionerConfig
    max_text_tokens: int
    max_visual_tokens: int
    cutting: Cutting
    strict: bool
    home: Path
    folder: Path

    def path(self, number: int) -> Path:
        """Path of the file of a part."""
        return self.folder / f"{number:06d}.parquet"

    def make(self, part: Part, advance: Callable[[int], None] = lambda _: None) -> int:
        """Write the file of one part, whole or not at all; return its number of items.

        Args:
            advance: called with the number of items done since its last call.
        Raises:
            UserError: with `strict`, an item cannot be used; the captioner cannot be loaded, or its cache not written.
        """
        found = [self.reader.read(item) for item in part.items]
        articles = [item for item in found if isinstance(item, Article)]
        pictures, advanced = self._pictures(articles, advance)
        rows, left_out, faults = [], [], []
        for item in found:
            if isinstance(item, LeftOut):
                left_out.append(item)
                if is_fault(item):
                    faults.append(item)
                continue
            row = self._row(item, next(pictures))
            problem = row["no_visual"] and LeftOut(item.id, row["no_visual"], row["no_visual_detail"])
            if problem and not row["text_words"]:
                left_out.append(problem)
            else:
                rows.append(row | {"digest": article_digest(row)})
            if problem and (item.images or not row["text_words"]):  # a missing image is no fault: a model may need none
                faults.append(problem)
        if self.strict and faults:
            raise UserError(explain_unusable(faults[0]))
        shape = next((row["descriptors"].shape[1:] for row in rows if "descriptors" in row), None)
        for row in rows:
            if "descriptors" in row:
                row["descriptors"] = row["descriptors"].ravel()
        table = pa.Table.from_pylist(rows, SCHEMA).replace_schema_metadata(
            {LEFT_OUT: json.dumps([asdict(item) for item in left_out]), DESCRIPTOR_SHAPE: json.dumps(shape)}
        )
        with whole_file(self.path(part.number)) as draft:
            pq.write_table(table, draft, compression="zstd")
        advance(len(part.items) - advanced)
        return len(part.items)

    def _pictures(
        self, articles: list[Article], advance: Callable[[int], None]
    ) -> tuple[Iterator[dict[str, Any]], int]:
        """Describe the images of the articles.

        Returns:
            The columns that they fill, for each article; none if no image is read. And the number of steps that
            `advance` was told, at most one for each article.
        """
        if self.captioner.caption_file is not None:
            return ({} for _ in articles), 0
        from safe_exp.data.prepared.pictures import describe_pictures, gather_columns, hash_pictures

        reader = self.reader
        fetched = [each.downloaded for each in readers_of_one_root(reader) if isinstance(each, TakesDownloads)]
        named = {str(picture) for article in articles for picture in article.images if isinstance(picture, Path)}
        downloaded = {Path(file) for files in fetched for file in files.values() if file in named}
        facts: dict[Picture, dict[str, Any]] = {}
        advanced = 0

        def describe(pictures: list[Picture]) -> dict[Picture, Any]:
            nonlocal advanced
            unknown = [picture for picture in pictures if picture not in facts]
            told = advance if not advanced else lambda _: None  # the second pictures of articles are no further steps
            facts.update(describe_pictures(unknown, reader.image_root, downloaded, self.captioner, self.home, told))
            advanced = advanced or len(unknown)
            return {picture: facts[picture].get("unusable", facts[picture].get("description")) for picture in pictures}

        galleries = [Gallery(article.images, self.max_visual_tokens, self._count_words) for article in articles]
        fill(galleries, describe)
        beyond = dict.fromkeys(picture for gallery in galleries for picture in gallery.beyond if picture not in facts)
        facts |= hash_pictures(beyond, reader.image_root, downloaded)
        pairs = zip(galleries, articles, strict=True)
        return (gather_columns(gallery, facts, article) for gallery, article in pairs), advanced

    def _count_words(self, sentence: str) -> int:
        return len(split_words(sentence, self.max_visual_tokens, self.cutting.of_captions())[0])

    def _row(self, article: Article, picture: dict[str, Any]) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": article.id,
            "made_up_id": article.made_up_id,
            "label": article.label,
            "side": article.side,
            "site": article.site,
            "source": article.source,
            "date": article.date,
            "date_written": article.date_written,
            "title": article.title,
            "text": article.text,
            "caption": "" if captioners[self.captioner.name].gives_vectors else article.caption,
            "image": None if article.image is None else name_picture(article.image),
            "no_visual": article.no_visual and article.no_visual[0],
            "no_visual_detail": article.no_visual and article.no_visual[1],
        }
        row |= picture
        row |= self._words(article, row["caption"])
        has_patches = "descriptors" in row or "patch_hashes" in row
        row["caption_cut"] |= not has_patches and bool(row.get("images_beyond"))
        if not row["no_visual"] and not row["caption_words"] and not has_patches:
            row |= {"no_visual": NO_WORDS, "no_visual_detail": row["caption"][:40]}
        return row

    def _words(self, article: Article, caption: str) -> dict[str, Any]:
        text = article.title_and_text
        title_words, _ = split_words(article.title, self.max_text_tokens, self.cutting)
        text_words, text_cut = split_words(text, self.max_text_tokens, self.cutting)
        caption_words, caption_cut = split_words(caption, self.max_visual_tokens, self.cutting.of_captions())
        return {
            "text_key": text_key(text),
            "minhash": minhash_signature(text),
            "text_words": text_words,
            "title_words": len(title_words),  # no word spans the blank between title and body
            "text_cut": text_cut,
            "caption_words": caption_words,
            "caption_cut": caption_cut,
        }


def is_fault(item: LeftOut) -> bool:
    """Tell if data.strict=true refuses an article that a reader left out: not one that is left out on purpose."""
    return item.reason != IGNORED


def explain_unusable(item: LeftOut) -> str:
    """Write the message of data.strict=true for an article that cannot be used."""
    return (
        f"{item.path}: {item.reason} ({item.detail}). Repair or remove this article, or set data.strict=false to leave "
        "such articles out and count them."
    )


def article_digest(row: dict[str, Any]) -> str:
    """SHA-256 of the columns on which the network and the splits depend: the same on every machine."""
    seen = ("id", "label", "site", "source", "date", "title", "text", "caption", "image_hash")
    several = [row["image_hashes"]] if row.get("image_hashes") else []  # with one image as it was before there were any
    return json_digest([*(row.get(name) for name in seen), *several])
