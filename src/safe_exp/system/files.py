"""Files that appear whole or not at all."""

import errno
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safe_exp.system.errors import UnwritableFile

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # what only a write can meet
NOT_WRITABLE = NO_ROOM | {errno.EACCES, errno.EPERM, errno.EIO}
CHUNK = 1 << 20  # bytes read at a time
PROBE = bytes(1 << 16)  # more than a file system that has just refused to take more keeps back


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to; it takes the place of `path` when the block ends without an error.

    A reader, or a run that is killed at any moment, sees the old file or the new one and never a part of either.
    The name keeps the suffix of `path`, since libraries choose a format by it.

    Raises:
        UnwritableFile: there is no room for it, or it may not be written; the old file is as it was.
    """
    path = Path(path)
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
        mode = draft.stat().st_mode
        yield draft
        draft.chmod(mode)  # safetensors makes its files private; a run is there to be shared
        with open(draft, "rb") as handle:
            os.fsync(handle.fileno())  # else a power cut may leave the new name with no content
        os.replace(draft, path)
    except Exception as error:
        cause = error if isinstance(error, OSError) else _disk_fault(error, draft)
        if cause is None or cause.errno not in NOT_WRITABLE:
            raise
        raise UnwritableFile(cause.errno, cause.strerror, short_path(path)) from error
    finally:
        with suppress(OSError):  # of a folder that may only be read
            draft.unlink(missing_ok=True)


def _disk_fault(error: Exception, draft: Path) -> OSError | None:
    """Why `draft` could not be written, if it is the disk's fault: not every library raises an OSError then."""
    if found := re.search(r"\(os error (\d+)\)", str(error)):  # what is written in Rust: safetensors and tokenizers
        return OSError(int(found[1]), os.strerror(int(found[1])))
    try:
        with open(draft, "ab") as handle:
            handle.write(PROBE)  # PyTorch does not say why it could not
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as fault:
        return fault
    return None


def checksums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """A CRC-32 of each file: enough to tell a flipped bit, and as fast as the disk; a lock it is not."""
    return {name: _checksum(folder / name) for name in names}


def require_unchanged(folder: Path, stored: Mapping[str, str] | None) -> None:
    """Refuse files that are not as they were when `checksums` looked at them; None: an older version did not look.

    Raises:
        ValueError: the first of them, by name.
    """
    for name, value in (stored or {}).items():
        if _checksum(folder / name) != value:
            raise ValueError(f"{name} is not as it was written")


def _checksum(path: Path) -> str:
    value = 0
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            value = zlib.crc32(chunk, value)
    return f"{value:08x}"


def short_path(path: Path) -> Path:
    """`path` as the user would type it: relative to the working folder when it lies below."""
    path, here = Path(path).absolute(), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def write_json(path: Path, content: Any) -> None:
    """Write plain values as indented JSON; NaN and infinities are refused, since most readers choke on them."""
    with whole_file(path) as draft:
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
