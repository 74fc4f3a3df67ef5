"""JSON lines as they arrive on a stream: read within bounds, an article or a refusal for each."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safe_exp.data.reading.articles import Article, LeftOut, Picture, require_words
from safe_exp.data.reading.cleaning import as_text
from safe_exp.data.reading.untrusted import UnusableArticle, parse_object

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 4_000_000  # a book has one million; a longer line is refused and not kept
CHUNK_BYTES = 1 << 20  # read at a time, if so much has arrived
MAX_ID_CHARS = 200
CONTENT_KEYS = ("title", "text", "caption", "image")  # beside the id
MAX_NAMED_KEYS, MAX_KEY_CHARS = 5, 40  # of other keys named in messages
TOO_LONG = object()

Line = tuple[int, Any]  # number from 1; its bytes, or TOO_LONG


def arriving_lines(stream: io.BufferedReader, most: int) -> Iterator[list[Line]]:
    """Yield the lines of a stream that have arrived, at most `most` at a time, without waiting for more.

    A line that is typed is answered before the next one, and many lines that are sent are answered many at a time.
    CHUNK_BYTES and MAX_LINE_BYTES bound the memory for any stream and any line.
    """
    number, rest, cut = 0, b"", False
    while chunk := stream.read1(CHUNK_BYTES):
        *whole, tail = chunk.split(b"\n")
        lines: list[Line] = []
        for piece in whole:
            number += 1
            long = cut or len(rest) + len(piece) > MAX_LINE_BYTES
            lines.append((number, TOO_LONG if long else rest + piece))
            rest, cut = b"", False
        cut = cut or len(rest) + len(tail) > MAX_LINE_BYTES
        rest = b"" if cut else rest + tail
        for start in range(0, len(lines), most):
            yield lines[start : start + most]
    if rest or cut:  # a last line without its end
        yield [(number + 1, TOO_LONG if cut else rest)]


@dataclass
class LineReader:
    """Read articles from lines: objects with any of id, title, text, caption and image; other keys are ignored.

    Several images are a list.

    Args:
        images: the folder outside of which no image is read; None: lines may name no image. Lines may come from
            elsewhere, and a path could point at any file of this machine.
    """

    images: Path | None

    def __post_init__(self) -> None:
        self._unread: set[str] = set()  # unknown keys that have been named in a message
        self._images = None if self.images is None else self.images.expanduser().resolve()

    def read(self, line: Line) -> Article | LeftOut:
        """Read the article of a line, or give the reason why there is none."""
        number, content = line
        article_id = f"line {number}"
        try:
            if content is TOO_LONG:
                raise UnusableArticle("line is too long", f"more than {MAX_LINE_BYTES / 1e6:g} MB")
            try:
                text = content.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UnusableArticle("line is not UTF-8", f"byte {error.start}") from error
            if not text.strip():
                raise UnusableArticle("line is empty", "expected a JSON object")
            values = parse_object(text, "line", article_id)
        except UnusableArticle as error:
            return LeftOut(article_id, error.reason, error.detail)
        return self.read_values(article_id, values)

    def read_values(self, name: str, values: dict[str, Any]) -> Article | LeftOut:
        """Read the article that an object describes, or give the reason why there is none.

        Args:
            name: its id, if it has none of its own.
            values: by key.
        """
        article_id = as_text(values.get("id"))[:MAX_ID_CHARS] or name
        try:
            return self._article(article_id, values)
        except UnusableArticle as error:
            return LeftOut(article_id, error.reason, error.detail)

    def _article(self, article_id: str, values: dict[str, Any]) -> Article:
        if values.keys().isdisjoint(CONTENT_KEYS):
            found = ", ".join(_shorten_key(key) for key in list(values)[:MAX_NAMED_KEYS]) or "nothing"
            raise UnusableArticle("no article", f"expected any of {', '.join(CONTENT_KEYS)}; found {found}")
        unread = [key for key in values if key not in ("id", *CONTENT_KEYS) and key not in self._unread]
        for key in unread[: MAX_NAMED_KEYS - len(self._unread)]:
            self._unread.add(key)
            log.info(
                "%s: '%s' is not read, here and below; %s are.", article_id, _shorten_key(key), ", ".join(CONTENT_KEYS)
            )
        title, text, caption = (as_text(values.get(name)) for name in ("title", "text", "caption"))
        value = values.get("image")
        named = [
            one
            for one in (value if isinstance(value, list) else [value])
            if one is not None and (not isinstance(one, str) or one)
        ]
        images = tuple(dict.fromkeys(self._image(one) for one in named))  # each once, as in a table
        require_words(article_id, title, text, has_visual=bool(caption or images))
        return Article(article_id, None, title, text, caption, images)

    def _image(self, value: Any) -> Picture:
        if not isinstance(value, str):
            raise UnusableArticle("image is not a path", f"expected a string, found a {type(value).__name__}")
        if self._images is None:
            raise UnusableArticle("image without images=DIR", "lines may name images below that folder only")
        try:
            path = (self._images / value).resolve()
            inside = path.is_relative_to(self._images)
        except (OSError, ValueError, RuntimeError) as error:  # a name that no file can have
            raise UnusableArticle("no image file", f"{value[:100]!r} names no file") from error
        if not inside:
            raise UnusableArticle("image lies outside images=DIR", value[:100])
        return path


def _shorten_key(key: str) -> str:
    return as_text(key)[:MAX_KEY_CHARS]  # as_text removes characters that a terminal or a file cannot hold
