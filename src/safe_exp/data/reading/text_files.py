"""Text files of many records: packed or not, in whatever encoding, line by line, within bounds."""

from __future__ import annotations

import codecs
import gzip
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from safe_exp.data.reading.untrusted import BYTE_ORDER_MARKS, MAX_ARTICLE_BYTES, PROBED_BYTES, guess_encoding
from safe_exp.system.errors import UserError

BLOCK_BYTES = 1 << 20
WIDE = ("utf-16", "utf-32")
HEAD_BYTES = 64  # UTF-16 without a mark shows in the first words, which are names of columns
LETTERS_TOGETHER = 2  # accented letters stand alone, one in a few; those of another script stand together
_MISFITS = re.compile("[\udc80-\udcff]")  # bytes that are no UTF-8
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")


@dataclass(frozen=True)
class TextFormat:
    """Encoding and line ends of a text file."""

    encoding: str
    mixed: bool = False  # some bytes are not in this encoding; they are decoded cell by cell
    newline: str = "\n"  # "\r" where no line ends otherwise

    def open(self, path: Path) -> io.TextIOWrapper:
        """Open the file for reading; bytes that do not fit the encoding become halves of surrogate pairs."""
        errors = "replace" if self.encoding in WIDE else "surrogateescape"  # which knows single bytes alone
        return io.TextIOWrapper(open_file(path), self.encoding, errors=errors, newline=self.newline)

    def lines(self, path: Path) -> Iterator[tuple[int, str | None]]:
        """Yield number and text of each line, with its end; None for a line that is too long to be held."""
        limit = MAX_ARTICLE_BYTES
        with self.open(path) as text:
            number = 0
            while line := text.readline(limit + 1):
                number += 1
                if len(line) > limit:
                    while line and not line.endswith(self.newline):
                        line = text.readline(limit)
                    yield number, None
                else:
                    yield number, line.replace("\0", " ") if "\0" in line else line

    def restore(self, text: str) -> str | UndecodedText:
        """Restore the bytes of a text that is not in the encoding; another stays as it is."""
        try:
            text.encode()
        except UnicodeEncodeError:
            if self.encoding in WIDE:  # half of a pair cannot be told from a byte that does not fit
                return text.encode("utf-8", "replace").decode("utf-8")
            return UndecodedText(text.encode(self.encoding.removesuffix("-sig"), "surrogateescape"))
        return text


class UndecodedText(bytes):
    """Bytes of a text whose encoding is told when it is read; other bytes in a table may be a picture."""


def open_file(path: Path) -> io.BufferedReader:
    """Open a file, unpacked if it ends in .gz."""
    if path.suffix.casefold() == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))  # type: ignore[arg-type]  # it reads like a raw file
    return path.open("rb")


def find_format(path: Path, root: str) -> TextFormat:
    """Find the encoding of a whole file, and its line ends.

    A file without a byte-order mark is UTF-8 if all of it is. Else, if no line of it is UTF-8 beyond ASCII, all of it
    is taken to be in one other encoding, such as Windows-1252.

    Raises:
        UserError: it is UTF-16 or UTF-32 without a mark.
    """
    status = path.stat()
    return _find_format(path, root, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)  # a preparation lists its input more than once
def _find_format(path: Path, root: str, size: int, changed: int) -> TextFormat:
    encoding, mixed = find_mark(path, root), False
    if encoding not in WIDE:
        found, mixed = _find_unmarked(path)
        encoding = encoding or found
    with TextFormat(encoding, newline="").open(path) as text:  # "": line ends stay as they are
        head = text.read(PROBED_BYTES)
    return TextFormat(encoding, mixed, "\r" if "\r" in head and "\n" not in head else "\n")


def find_mark(path: Path, root: str) -> str | None:
    """Tell the encoding from a byte-order mark; None where there is none.

    Raises:
        UserError: the file is UTF-16 or UTF-32 without a mark.
    """
    with open_file(path) as raw:
        head = raw.read(HEAD_BYTES)
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if head.startswith(mark)), None)
    if encoding is not None or len(head) < 8:
        return encoding
    zeros = [place for place, byte in enumerate(head) if byte == 0]
    if len(zeros) < 0.4 * len(head):
        return None
    wide = len(zeros) > 0.6 * len(head)
    guess = ("UTF-32" if wide else "UTF-16") + ("BE" if zeros[0] == 0 else "LE")
    raise UserError(
        f"data.root={root}: {path.name} looks like {guess} without the mark that says so. Convert it: "
        f"iconv -f {guess} -t UTF-8 {path.name} > new{path.suffix}"
    )


def _find_unmarked(path: Path) -> tuple[str, bool]:
    """Find the encoding of a file without a mark, and tell if some of its bytes are not in it."""
    if _decodes(path, "utf-8"):
        return "utf-8", False
    odd, proper = bytearray(), False
    with open_file(path) as raw:
        while line := raw.readline(BLOCK_BYTES):
            if line.isascii():
                continue
            text = line.decode("utf-8", "surrogateescape")
            misfits = len(_MISFITS.findall(text))
            proper |= len(text) - len(text.encode("ascii", "ignore")) > 2 * misfits
            if misfits and len(odd) < PROBED_BYTES:
                odd += line[:PROBED_BYTES]
            if proper and odd:
                return "utf-8", True
    runs = _BEYOND_ASCII.findall(odd)
    if sum(map(len, runs)) < LETTERS_TOGETHER * len(runs):
        encoding: str | None = "cp1252"
    else:
        encoding = guess_encoding(b" ".join(runs))
    if encoding is not None and _reads_lines(encoding) and (_decodes(path, encoding) or encoding == "cp1252"):
        return encoding, not _decodes(path, encoding)
    return "utf-8", True


def _decodes(path: Path, encoding: str) -> bool:
    """Tell if a whole file is in this encoding."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        with open_file(path) as raw:
            while block := raw.read(BLOCK_BYTES):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _reads_lines(encoding: str) -> bool:
    """Tell if delimiters, quotation marks and line ends are those of ASCII in this encoding."""
    try:
        return '\t,;|"\r\n'.encode(encoding) == b'\t,;|"\r\n'
    except (LookupError, UnicodeEncodeError):
        return False
