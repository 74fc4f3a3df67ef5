"""Text files as they are or packed as gzip, zip or xz, read in bounded memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from safe_exp.system.errors import UserError, first_line

if TYPE_CHECKING:
    from lzma import LZMADecompressor

    from _typeshed import WriteableBuffer

BUFFER_BYTES = 1 << 18
XZ_MEMORY = 1 << 28  # bytes; xz -9 makes files that need 65 MiB, and a file may ask for 4 GiB


class OpenText(NamedTuple):
    """A text file while it is read."""

    handle: io.BufferedReader  # the text, unpacked
    place: Callable[[], int]  # bytes of the file, as it is packed, that have been read


@contextmanager
def opened_text(path: Path) -> Iterator[OpenText]:
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
            raise unreadable(path, error) from error
        yield OpenText(file if unpack is None else io.BufferedReader(handle, BUFFER_BYTES), file.tell)


def unreadable(path: Path, error: Exception) -> UserError:
    """Make the error of a file that cannot be read to its end."""
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
