"""Files that others wrote: read whole, within bounds, from inside the root, or refused with a reason to count by."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

MAX_ARTICLE_BYTES = 64_000_000  # a book has one million; more than this is a dump, and 256 of them are read at a time
# Detection looks at this much of a file; it is slow, and a page that is mixed after 64 kB is beyond repair anyway.
PROBED_BYTES = 65_536
MOSTLY_ASCII = 0.2  # share of odd bytes: French has 0.05, Russian or Chinese in an encoding of their own 0.8
BYTE_ORDER_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class UnusableArticle(Exception):
    """An article that cannot be used: `reason` is a short fixed phrase to count by, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason} ({detail})")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # it travels between processes
        return type(self), (self.reason, self.detail)


def read_text(path: Path, root: Path, what: str, max_bytes: int = MAX_ARTICLE_BYTES) -> str:
    """The text of a file below `root`. `what` names the file in the reason, as in "caption".

    Raises:
        UnusableArticle: missing, unreadable, too large, in no encoding that can be told, or a link that leads out of
            the root: a data set from elsewhere must not be able to pull in other files of this machine.
    """
    return decode_text(read_bytes(path, root, what, max_bytes), what, path.name)


def read_bytes(path: Path, root: Path, what: str, max_bytes: int) -> bytes:
    """The content of a file below `root`; raises as `read_text` does."""
    if leads_outside(path, root):
        raise UnusableArticle("a link leads outside data.root", path.name)
    try:
        with path.open("rb") as handle:
            content = handle.read(max_bytes + 1)
    except FileNotFoundError:
        raise UnusableArticle(f"no {what} file", f"expected {path.name}") from None
    except OSError as error:
        raise UnusableArticle(f"{what} file cannot be read", f"{path.name}: {error.strerror}") from error
    if len(content) > max_bytes:
        raise UnusableArticle(f"{what} file is too large", f"{path.name}: more than {max_bytes / 1e6:g} MB")
    return content


def decode_text(content: bytes, what: str, name: str) -> str:
    """Bytes as text: by the byte-order mark, else UTF-8, else Windows-1252 or what the bytes look like.

    Raises:
        UnusableArticle: no encoding fits.
    """
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS if content.startswith(mark)), None)
    try:
        return content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        guess = None if encoding else _guessed_encoding(content)
        try:
            if guess is not None:
                return content.decode(guess)
        except (UnicodeDecodeError, LookupError):
            pass
        raise UnusableArticle(f"encoding of the {what} cannot be told", f"{name}: byte {error.start}") from error


def _guessed_encoding(content: bytes) -> str | None:
    if b"\x00" in content[:PROBED_BYTES]:  # no 8-bit text holds these; UTF-16 without a mark is not guessed at
        return None
    # The bytes before and behind the first odd one: a page that starts with 64 kB of plain ASCII tells nothing.
    first_odd = next(i for i, byte in enumerate(content) if byte >= 0x80)
    probe = content[max(0, first_odd - PROBED_BYTES // 2) :][:PROBED_BYTES]
    if sum(byte >= 0x80 for byte in probe) < MOSTLY_ASCII * len(probe):
        # A few odd bytes between plain letters: what browsers take such a page for. Detectors need far more of them.
        return "cp1252"
    from charset_normalizer import from_bytes  # slow to import, and rarely needed

    best = from_bytes(probe).best()
    return None if best is None else best.encoding


def parse_object(raw: str, what: str, name: str) -> dict[str, Any]:
    """A JSON object from text.

    Raises:
        UnusableArticle: it is no valid JSON, or something else than an object.
    """
    try:
        content = json.loads(raw, strict=False)  # crawlers leave raw line breaks and tabs inside strings
    except (ValueError, RecursionError) as error:  # RecursionError: brackets nested by the thousand
        raise UnusableArticle(f"{what} is not valid JSON", f"{name}: {error}") from error
    if not isinstance(content, dict):
        raise UnusableArticle(f"{what} is not a JSON object", f"{name}: it holds a {type(content).__name__}")
    return content


def leads_outside(path: Path, root: Path) -> bool:
    """Whether `path` is a link to somewhere outside `root`, which must be resolved already."""
    try:
        return path.is_symlink() and not path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a circle of links leads nowhere
        return True
