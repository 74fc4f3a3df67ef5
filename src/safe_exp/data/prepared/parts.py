"""Parts of the input: a few hundred articles each, read, cleaned, cut into words and described, in one file.

A part depends on its own articles alone. So parts can be made by any process, on any machine, in any order, and those
made before an interruption are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from safe_exp.config import CaptionerConfig
from safe_exp.data.reading.articles import Article, LeftOut
from safe_exp.data.reading.readers import Part, Reader, TakesDownloads
from safe_exp.data.splitting.duplicates import minhash_signature, text_key
from safe_exp.data.text import split_words
from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UserError
from safe_exp.system.files import whole_file

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("made_up_id", pa.bool_()),  # the reader named the article by its place
        ("label", pa.int8()),  # 1 = fake
        ("site", pa.string()),
        ("source", pa.string()),  # publisher
        ("date", pa.string()),  # YYYY-MM-DD
        ("title", pa.string()),
        ("text", pa.string()),
        ("caption", pa.string()),  # the sentence that describes the image; empty where there is none
        ("image", pa.string()),  # the file's path, for people; its content is in the columns below
        ("image_hash", pa.string()),  # SHA-256 of its content
        ("perceptual_hash", pa.uint64()),
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
        ("descriptors", pa.list_(pa.float32())),  # of the image's patches, flattened; null but for visual words
    ]
)
LEFT_OUT, DESCRIPTOR_SHAPE = b"left_out", b"descriptor_shape"  # in the file's metadata


@dataclass(frozen=True)
class PartMaker:
    """Makes parts; it is sent to each process that does.

    Args:
        strict: refuse an article that cannot be used.
        cache: folder of descriptions of images, which outlive the parts.
        folder: folder of the parts.
    """

    reader: Reader
    captioner: CaptionerConfig
    max_text_tokens: int
    max_visual_tokens: int
    strict: bool
    cache: Path
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
        pictures = self._pictures(articles, advance)
        rows, left_out, faults = [], [], []
        for item in found:
            if isinstance(item, LeftOut):
                left_out.append(item)
                faults.append(item)
                continue
            row = self._row(item, pictures.get(item.image, {}))
            problem = row["no_visual"] and LeftOut(item.id, row["no_visual"], row["no_visual_detail"])
            if problem and not row["text_words"]:
                left_out.append(problem)
            else:
                rows.append(row | {"digest": article_digest(row)})
            if problem and (item.image or not row["text_words"]):  # a missing image is no fault: a model may need none
                faults.append(problem)
        if self.strict and faults:
            raise UserError(explain_unusable(faults[0]))
        shape = next((row["descriptors"].shape for row in rows if "descriptors" in row), None)
        for row in rows:
            if "descriptors" in row:
                row["descriptors"] = row["descriptors"].ravel()
        table = pa.Table.from_pylist(rows, SCHEMA).replace_schema_metadata(
            {LEFT_OUT: json.dumps([asdict(item) for item in left_out]), DESCRIPTOR_SHAPE: json.dumps(shape)}
        )
        with whole_file(self.path(part.number)) as draft:
            pq.write_table(table, draft, compression="zstd")
        advance(len(part.items) - len(pictures))
        return len(part.items)

    def _pictures(self, articles: list[Article], advance: Callable[[int], None]) -> dict[Path, dict[str, Any]]:
        """Describe the image of each article by its columns of the part; none if no image is read."""
        if self.captioner.caption_file is not None:
            return {}
        from safe_exp.data.prepared.pictures import describe_pictures  # takes a second to import

        files = list(dict.fromkeys(article.image for article in articles if article.image is not None))
        reader = self.reader
        downloaded = set(map(Path, reader.downloaded.values())) if isinstance(reader, TakesDownloads) else set()
        return describe_pictures(files, reader.image_root, downloaded, self.captioner, self.cache, advance)

    def _row(self, article: Article, picture: dict[str, Any]) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": article.id,
            "made_up_id": article.made_up_id,
            "label": article.label,
            "site": article.site,
            "source": article.source,
            "date": article.date,
            "title": article.title,
            "text": article.text,
            "caption": article.caption,
            "image": None if article.image is None else str(article.image),
            "no_visual": article.no_visual and article.no_visual[0],
            "no_visual_detail": article.no_visual and article.no_visual[1],
        }
        row |= picture
        row |= self._words(article, row["caption"])
        if not row["no_visual"] and not row["caption_words"] and "descriptors" not in row:
            row |= {"no_visual": "caption has no words", "no_visual_detail": row["caption"][:40]}
        return row

    def _words(self, article: Article, caption: str) -> dict[str, Any]:
        text = article.title_and_text
        title_words, _ = split_words(article.title, self.max_text_tokens)
        text_words, text_cut = split_words(text, self.max_text_tokens)
        caption_words, caption_cut = split_words(caption, self.max_visual_tokens)
        return {
            "text_key": text_key(text),
            "minhash": minhash_signature(text),
            "text_words": text_words,
            "title_words": len(title_words),  # no word spans the blank between title and body
            "text_cut": text_cut,
            "caption_words": caption_words,
            "caption_cut": caption_cut,
        }


def explain_unusable(item: LeftOut) -> str:
    """Write the message of data.strict=true for an article that cannot be used."""
    return (
        f"{item.path}: {item.reason} ({item.detail}). Repair or remove this article, or set data.strict=false to leave "
        "such articles out and count them."
    )


def article_digest(row: dict[str, Any]) -> str:
    """SHA-256 of the columns on which the network and the splits depend: the same on every machine."""
    seen = ("id", "label", "site", "source", "date", "title", "text", "caption", "image_hash")
    return json_digest([row.get(name) for name in seen])
