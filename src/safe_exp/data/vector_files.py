"""Text files of word vectors, of GloVe, word2vec or fastText, as they are or packed as gzip, zip or xz."""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from safe_exp.system.errors import UserError, first_line
from safe_exp.system.terminal import counting

if TYPE_CHECKING:
    from lzma import LZMADecompressor

    from _typeshed import WriteableBuffer

log = logging.getLogger(__name__)

ANNOUNCED_BYTES = 200_000_000  # files from this size on, which take seconds to read, are announced
PROBED_LINES = 10  # lines at the start of the file that tell its E
MAX_DIM = 99_999  # of E; published vectors have a few hundred numbers
MAX_LINE_BYTES = 1 << 22  # a word and MAX_DIM numbers; in a packed file a line could else fill the memory
BUFFER_BYTES = 1 << 18
LINES_A_STEP = 500  # between two looks at the place in the file, for the progress
XZ_MEMORY = 1 << 28  # bytes; xz -9 makes files that need 65 MiB, and a file may ask for 4 GiB


class VectorLines(NamedTuple):
    """A text file of word vectors while it is read."""

    handle: io.BufferedReader  # the text, unpacked
    place: Callable[[], int]  # bytes of the file, as it is packed, that have been read


def take_vectors(path: Path, wanted: set[str]) -> tuple[dict[str, np.ndarray], int]:
    """Read the vectors (E,) float32 of the wanted words, and E.

    Lines are read one by one, packed or not: glove.840B has 5 GB. The memory holds one line and the vectors taken. A
    word may hold spaces. The first vector of a word counts.

    Raises:
        UserError: the file is missing or damaged, a line of it cannot be read, or it knows none of the words.
    """
    if not path.is_file():
        raise UserError(
            f"vectors.path={path}: there is no such file. Expected word vectors as text, GloVe's (a word and its "
            "numbers on each line) or word2vec's and fastText's (the same after a line with the count and the "
            "dimension), as it is or packed as .gz, .zip or .xz; vectors.path=null takes seeded random ones."
        )
    wanted_bytes = {word.encode(): word for word in wanted}
    known: dict[str, np.ndarray] = {}
    size = path.stat().st_size
    announcement = f"Reading word vectors from {path} ({size / 1e9:.1f} GB)" if size >= ANNOUNCED_BYTES else None
    with _opened(path) as text, counting(log, f"Reading {path.name}, MB", size / 1e6, announcement) as advance:
        lines = _read_lines(text, path, advance)
        probed = list(islice(lines, PROBED_LINES))
        dim, first_line_number = _probe_layout(path, probed)
        for number, line in enumerate(chain(probed, lines), start=1):
            if number < first_line_number or not line.strip():
                continue
            # Split from the right: a few words of glove.840B hold spaces themselves, as in ". . .".
            fields = line.rstrip().rsplit(b" ", dim)
            if len(fields) != dim + 1:
                raise _bad_line_error(path, number, dim, f"found {max(0, len(fields) - 1)} numbers")
            word = wanted_bytes.get(fields[0])
            if word is None or word in known:
                continue
            known[word] = _parse_numbers(fields[1:], path, number)
    if not known:
        raise UserError(
            f"{path}: none of the {len(wanted)} words of the training articles has a vector in it. Expected vectors "
            "for lower-case words of the articles' language; check vectors.path."
        )
    return known, dim


def _read_lines(text: VectorLines, path: Path, advance: Callable[[float], None]) -> Iterator[bytes]:
    """Yield the lines, and tell `advance` the megabytes of the file that they took, as it is packed."""
    told = number = 0
    while True:
        try:
            line = text.handle.readline(MAX_LINE_BYTES)
        except Exception as error:  # gzip, zipfile and lzma have no common error
            raise _unreadable(path, error) from error
        if not line:
            return
        number += 1
        if len(line) == MAX_LINE_BYTES:
            raise UserError(
                f"{path}, line {number}: it has {MAX_LINE_BYTES / 1e6:.0f} MB or more. Expected a word and its "
                f"numbers, at most {MAX_DIM:,}, on each line of a text file."
            )
        if number % LINES_A_STEP == 0:
            place = text.place()
            advance((place - told) / 1e6)
            told = place
        yield line


def _probe_layout(path: Path, lines: Sequence[bytes]) -> tuple[int, int]:
    """Tell E from the first lines, and the number of the line on which the vectors start.

    It is 2 after the header of word2vec and fastText, which is the count and the dimension, else 1.
    """
    fields = [line.split() for line in lines]
    if fields and len(fields[0]) == 2 and all(field.isdigit() for field in fields[0]):
        return _parse_header(path, fields[0][1]), 2
    counts = Counter(len(found) for found in fields if found)
    # The commonest count. Of two equally common ones the larger comes from words with spaces in them.
    dim = min(counts, key=lambda count: (-counts[count], count), default=0) - 1
    if dim < 1:
        raise UserError(
            f"{path}, line 1: expected a word and its numbers, separated by spaces, or a header with the count and the "
            "dimension. Is this a word vector file in text format, as it is or packed as .gz, .zip or .xz? (The binary "
            "formats of word2vec and fastText are not read.)"
        )
    return dim, 1


def _parse_header(path: Path, field: bytes) -> int:
    dim = int(field) if len(field) <= len(str(MAX_DIM)) else MAX_DIM + 1
    if not 1 <= dim <= MAX_DIM:
        raise UserError(
            f"{path}, line 1: its header promises vectors of {field[:20].decode()} numbers; expected 1 to {MAX_DIM:,}. "
            "The file may be damaged: download it again."
        )
    return dim


def _parse_numbers(fields: Sequence[bytes], path: Path, number: int) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # 1e39 becomes infinite, and is refused below
            vector = np.array([float(field) for field in fields], dtype=np.float32)  # (E,)
    except ValueError as error:
        raise _bad_line_error(path, number, len(fields), str(error)) from error
    if not np.isfinite(vector).all():
        raise _bad_line_error(path, number, len(fields), "one of its numbers is not finite")
    return vector


def _bad_line_error(path: Path, number: int, dim: int, found: str) -> UserError:
    return UserError(
        f"{path}, line {number}: expected a word and {dim} numbers, separated by spaces; {found}. "
        "The file may be cut off or damaged: download it again."
    )


# ── packed files ──────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _opened(path: Path) -> Iterator[VectorLines]:
    """Open a file for the block. Its first bytes tell how it is packed, whatever its name.

    Raises:
        UserError: it is packed and damaged, or a zip file that does not hold one text.
    """
    with ExitStack() as opened:
        try:
            file = opened.enter_context(path.open("rb"))
            start = file.read(max(map(len, UNPACKERS)))
            file.seek(0)
            unpack = next((unpack for magic, unpack in UNPACKERS.items() if start.startswith(magic)), None)
            handle = file if unpack is None else opened.enter_context(unpack(file, path))
        except UserError:
            raise
        except Exception as error:  # zipfile raises whatever the numbers of a damaged directory lead to
            raise _unreadable(path, error) from error
        yield VectorLines(file if unpack is None else io.BufferedReader(handle, BUFFER_BYTES), file.tell)


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path}: the file cannot be read ({first_line(error)}). It may be damaged, or not all of it is here: download "
        "it again."
    )


def _open_gzip(file: BinaryIO, path: Path) -> Any:
    import gzip

    return gzip.GzipFile(fileobj=file)


def _open_xz(file: BinaryIO, path: Path) -> Any:
    return _XzText(file)


def _open_zip(file: BinaryIO, path: Path) -> Any:
    """Open the one text that a zip file holds.

    Raises:
        UserError: it holds none or several, or is packed in a way that is not read.
    """
    import zipfile

    archive = zipfile.ZipFile(file)
    members = [  # a Mac adds files of its own
        item for item in archive.infolist() if not item.is_dir() and not item.filename.startswith("__MACOSX/")
    ]
    if len(members) != 1:
        names = ", ".join(item.filename for item in members[:5]) + (", …" if len(members) > 5 else "")
        raise UserError(
            f"{path}: this zip file holds {len(members)} files{f' ({names})' if members else ''}, expected one. Unpack "
            "it, and give the file with the vectors as vectors.path."
        )
    [member] = members
    if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        reason = "protected by a password" if member.flag_bits & 1 else "packed by another method than deflate"
        raise UserError(f"{path}: the file in it is {reason}. Unpack it, and give the text file as vectors.path.")
    return archive.open(member)


class _XzText(io.RawIOBase):
    """Unpack an xz file, of one stream or several, in bounded memory; Python's own LZMAFile sets no bound."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._unpacker = file, _new_xz_unpacker()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer).cast("B")
        content = b""
        while not content:
            packed = b""
            if self._unpacker.eof:  # another stream may follow, behind a few zeros
                packed = (self._unpacker.unused_data + self._file.read(BUFFER_BYTES)).lstrip(b"\0")
                if not packed:
                    return 0
                self._unpacker = _new_xz_unpacker()
            elif self._unpacker.needs_input:
                packed = self._file.read(BUFFER_BYTES)
                if not packed:
                    raise EOFError("it ends before its end marker")
            content = self._unpacker.decompress(packed, len(room))
        room[: len(content)] = content
        return len(content)


def _new_xz_unpacker() -> LZMADecompressor:
    import lzma  # a Python that was built without it reads the other formats

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


UNPACKERS: dict[bytes, Callable[[BinaryIO, Path], Any]] = {  # by the first bytes of the file
    b"\x1f\x8b": _open_gzip,
    b"PK\3\4": _open_zip,
    b"PK\5\6": _open_zip,  # an empty one
    b"\xfd7zXZ\0": _open_xz,
}
