"""Files from elsewhere: read whole, within bounds, from inside the root, or refused with a reason to count by."""

from __future__ import annotations

import codecs
import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_ARTICLE_BYTES = 64_000_000  # a book has one million; a larger file is a dump, and 256 articles are read at a time
# Read by the detection of encodings, which is slow.
PROBED_BYTES = 65_536
MOSTLY_ASCII = 0.2  # share of odd bytes: French has 0.05, Russian or Chinese in an encoding of their own 0.8
BYTE_ORDER_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


LINK_OUTSIDE = "a link leads outside data.root"
COPY_LINKS = "cp -rL FROM TO copies what links lead to"


class UnusableArticle(Exception):
    """An article that cannot be used; `reason` is a short fixed phrase to count by, `detail` tells what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason} ({detail})")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # it is sent between processes
        return type(self), (self.reason, self.detail)


def read_text(path: Path, root: Path, what: str, max_bytes: int = MAX_ARTICLE_BYTES) -> str:
    """Read the text of a file below `root`; `what` names the file in the reason, as in "caption".

    A data set from elsewhere must not pull in other files of this machine by a link.

    Raises:
        UnusableArticle: the file is missing, unreadable, too large, in an unknown encoding, or a link out of the root.
    """
    return decode_text(_read_bytes(path, root, what, max_bytes), what, path.name)


def _read_bytes(path: Path, root: Path, what: str, max_bytes: int) -> bytes:
    """Read the content of a file below `root`.

    Raises:
        UnusableArticle: the file is missing, unreadable, larger than `max_bytes`, or a link out of the root.
    """
    if leads_outside(path, root):
        raise UnusableArticle(LINK_OUTSIDE, f"{path.name}; {COPY_LINKS}")
    try:
        content = read_plain_file(path, max_bytes + 1)
    except FileNotFoundError:
        raise UnusableArticle(f"no {what} file", f"expected {path.name}") from None
    except OSError as error:
        raise UnusableArticle(f"{what} file cannot be read", f"{path.name}: {error.strerror}") from error
    if len(content) > max_bytes:
        raise UnusableArticle(f"{what} file is too large", f"{path.name}: more than {max_bytes / 1e6:g} MB")
    return content


def read_plain_file(path: Path, most: int) -> bytes:
    """Read the first `most` bytes of a file without waiting: a named pipe may have no writer, a device no end.

    Raises:
        OSError: it is no plain file, or cannot be read.
    """
    # Without O_NONBLOCK, opening a named pipe would wait for its writer for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file")
        return file.read(most)


def decode_text(content: bytes, what: str, name: str) -> str:
    """Decode bytes by their byte-order mark, else as UTF-8, else as Windows-1252 or the encoding detected.

    Raises:
        UnusableArticle: no encoding fits.
    """
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS if content.startswith(mark)), None)
    try:
        return content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        guess = None if encoding else guess_encoding(content)
        try:
            if guess is not None:
                return content.decode(guess)
        except (UnicodeDecodeError, LookupError):
            pass
        raise UnusableArticle(f"encoding of the {what} cannot be told", f"{name}: byte {error.start}") from error


def guess_encoding(content: bytes) -> str | None:
    """Guess the encoding of a text that is not UTF-8 (it has a byte beyond ASCII); None where no guess is safe."""
    if b"\x00" in content[:PROBED_BYTES]:  # no 8-bit text holds these; UTF-16 without a mark is not guessed
        return None
    # The bytes around the first one that is not ASCII: a page may start with more than PROBED_BYTES of ASCII.
    first_odd = next(i for i, byte in enumerate(content) if byte >= 0x80)
    probe = content[max(0, first_odd - PROBED_BYTES // 2) :][:PROBED_BYTES]
    if sum(byte >= 0x80 for byte in probe) < MOSTLY_ASCII * len(probe):
        # A few odd bytes between plain letters. Browsers take such a page for this; detectors need far more of them.
        return "cp1252"
    from charset_normalizer import from_bytes  # slow to import, and rarely needed

    best = from_bytes(probe).best()
    return None if best is None else best.encoding


def parse_object(raw: str, what: str, name: str) -> dict[str, Any]:
    """Parse a text as a JSON object.

    Raises:
        UnusableArticle: it is no valid JSON, or no object.
    """
    try:
        content = json.loads(raw, strict=False)  # crawlers leave raw line breaks and tabs inside strings
    except (ValueError, RecursionError) as error:  # RecursionError: brackets nested by the thousand
        raise UnusableArticle(f"{what} is not valid JSON", f"{name}: {error}") from error
    if not isinstance(content, dict):
        raise UnusableArticle(f"{what} is not a JSON object", f"{name}: it holds a {type(content).__name__}")
    return content


def leads_outside(path: Path, root: Path) -> bool:
    """Tell if `path` is a link to a place outside `root`, which is resolved already."""
    try:
        return path.is_symlink() and not path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a circle of links leads nowhere
        return True
