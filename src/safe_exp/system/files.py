"""Files that are written whole or not at all, and checksums of files."""

import errno
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UnwritableFile

NO_ROOM_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # only a write fails with one of these
UNWRITABLE_ERRNOS = NO_ROOM_ERRNOS | {errno.EACCES, errno.EPERM, errno.EIO}
CHUNK_BYTES = 1 << 20  # read at a time
DIGEST = "digest"  # key of a JSON file: SHA-256 of all its other values
PROBE = bytes(1 << 16)  # a full disk may still take a few bytes; it does not take as many as these


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a draft beside `path` to write to; the draft replaces `path` when the block ends without an error.

    Another process sees the old file or the new one, never a part of either, even if this process is killed.
    The draft keeps the suffix of `path`, since libraries choose a format by it.

    Raises:
        UnwritableFile: the disk is full, or the file may not be written; the old file stays as it was.
    """
    path = Path(path)
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
        mode = draft.stat().st_mode
        yield draft
        draft.chmod(mode)  # safetensors makes its files private, and a run folder is shared
        with open(draft, "rb") as handle:
            os.fsync(handle.fileno())  # else a power cut may leave the new name with no content
        os.replace(draft, path)
    except Exception as error:
        cause = error if isinstance(error, OSError) else _disk_fault(error, draft)
        if cause is None or cause.errno not in UNWRITABLE_ERRNOS:
            raise
        raise UnwritableFile(cause.errno, cause.strerror, short_path(path)) from error
    finally:
        with suppress(OSError):  # the folder may be read-only
            draft.unlink(missing_ok=True)


def _disk_fault(error: Exception, draft: Path) -> OSError | None:
    """Find the OSError behind an `error` that a library raised while it wrote `draft`; None if the disk is sound."""
    if found := re.search(r"\(os error (\d+)\)", str(error)):  # libraries in Rust: safetensors, tokenizers
        return OSError(int(found[1]), os.strerror(int(found[1])))
    try:
        with open(draft, "ab") as handle:
            handle.write(PROBE)  # PyTorch's error gives no reason, so a write of our own finds it
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as fault:
        return fault
    return None


def checksums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Compute the CRC-32 of each file, by name.

    It finds a flipped bit at the speed of the disk. It gives no protection against deliberate changes.
    """
    return {name: _checksum(folder / name) for name in names}


def require_unchanged(folder: Path, stored: Mapping[str, str] | None) -> None:
    """Refuse files whose checksum differs from the stored one.

    Args:
        stored: the result of `checksums`; None, from an older version that stored none, refuses nothing.
    Raises:
        ValueError: a file has changed; the message names the first one.
        OSError: a file is missing or cannot be read.
    """
    for name, value in (stored or {}).items():
        if _checksum(folder / name) != value:
            raise ValueError(f"{name} is not as it was written")


def _checksum(path: Path) -> str:
    value = 0
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            value = zlib.crc32(chunk, value)
    return f"{value:08x}"


def write_sealed_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain values as JSON with their digest under the key `digest`, which `read_sealed_json` checks.

    Raises:
        ValueError, UnwritableFile: as `write_json`.
    """
    plain = json.loads(json.dumps(content, allow_nan=False))  # as it will be read back: keys are strings
    write_json(path, {**content, DIGEST: json_digest(plain)})


def read_sealed_json(path: Path) -> tuple[dict[str, Any], bool]:
    """Read what `write_sealed_json` wrote.

    Returns:
        The values without the digest; and False if there is none, since an older version wrote the file.
    Raises:
        ValueError: it is no JSON object, or not as it was written.
        OSError: it is missing or cannot be read.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    digest = content.pop(DIGEST, None)
    if digest is not None and digest != json_digest(content):
        raise ValueError(f"{path.name} is not as it was written")
    return content, digest is not None


def short_path(path: Path) -> Path:
    """Return `path` as the user would type it: relative to the working folder if it lies below, else absolute."""
    path, here = Path(path).absolute(), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def write_json(path: Path, content: Any) -> None:
    """Write plain values as indented JSON.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not allow and most parsers refuse.
        UnwritableFile: as `whole_file`.
    """
    with whole_file(path) as draft:
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
