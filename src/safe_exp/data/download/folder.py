"""Folder of downloaded images, each whole or not at all, and of the addresses that need not be tried again."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safe_exp.data.download.kinds import HEAD_BYTES, KINDS, image_kind
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path, whole_file
from safe_exp.system.lock import LOCK_NAME, locked

log = logging.getLogger(__name__)

FAILURES_FILE = "failures.jsonl"
DRAFT_PATTERN = re.compile(r"\.([0-9a-f]{64}|failures)\.\d+\.\w+")  # the names that files.whole_file gives to drafts


@dataclass(frozen=True)
class Downloaded:
    """An image in the folder."""

    path: Path
    fresh: bool  # fetched in this run; else it was there already


@dataclass(frozen=True)
class Failed:
    """An address without an image."""

    url: str
    reason: str  # one of a few fixed phrases, to count by
    detail: str  # what was found
    final: bool  # remembered: the next run does not try again


class DownloadFolder:
    """A folder of images, open for one process at a time; a second one waits.

    Args:
        max_bytes: size limit of an image.
    Raises:
        UserError: the disk is full, or access is denied; from opening, `add` and `remember`.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    def __enter__(self) -> "DownloadFolder":
        with ExitStack() as stack, self._explaining_write_errors():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock(stack)
            self._kinds = self._stored_images()
            self._failed = self._read_failures()
            self._log = stack.enter_context(open(self.folder / FAILURES_FILE, "a", encoding="utf-8"))
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._exit.close()

    def look_up(self, url: str) -> Downloaded | Failed | None:
        """Look up the image or the failure that an earlier run left for an address; None if there is neither."""
        digest = _url_digest(url)
        if kind := self._kinds.get(digest):
            return Downloaded(self.folder / f"{digest}.{kind}", fresh=False)
        return self._failed.get(url)

    def add(self, url: str, content: bytes) -> Downloaded:
        """Store the image of an address.

        Raises:
            UserError: it cannot be written.
        """
        path = self.folder / f"{_url_digest(url)}.{image_kind(content[:HEAD_BYTES])}"
        with self._explaining_write_errors(), whole_file(path) as draft:
            draft.write_bytes(content)
        return Downloaded(path, fresh=True)

    def remember(self, failed: Failed) -> None:
        """Store a failure, so that the next run does not try the address again.

        Raises:
            UserError: it cannot be written.
        """
        entry = {"url": failed.url, "reason": failed.reason, "detail": failed.detail, "max_bytes": self.max_bytes}
        with self._explaining_write_errors():
            self._log.write(_line(entry))
            self._log.flush()

    def __len__(self) -> int:
        """Count the images that were there at the start."""
        return len(self._kinds)

    def _lock(self, stack: ExitStack) -> None:
        told = f"Another process is downloading into {short_path(self.folder)}; waiting until it is done."
        stack.enter_context(locked(self.folder / LOCK_NAME, told))

    def _stored_images(self) -> dict[str, str]:
        """List the kind of each stored image by the digest in its name; remove drafts that a killed run left."""
        found = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                digest, _, kind = entry.name.partition(".")
                if kind in KINDS and len(digest) == 64:
                    found[digest] = kind
                elif DRAFT_PATTERN.fullmatch(entry.name):  # under this lock no other process writes it
                    os.unlink(entry.path)
        return found

    def _read_failures(self) -> dict[str, Failed]:
        """Read the stored failures by address.

        A line that a killed run left unfinished is dropped. So is an image that was too large for a lower limit than
        today's.
        """
        path = self.folder / FAILURES_FILE
        if not path.exists():
            return {}
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        entries = [entry for entry in map(_parse, lines) if entry is not None and self._still_holds(entry)]
        with whole_file(path) as draft:
            draft.write_text("".join(map(_line, entries)), encoding="utf-8")
        return {e["url"]: Failed(e["url"], e["reason"], e["detail"], final=True) for e in entries}

    def _still_holds(self, entry: dict[str, Any]) -> bool:
        return entry["reason"] != "image is too large" or self.max_bytes <= entry["max_bytes"]

    @contextmanager
    def _explaining_write_errors(self) -> Iterator[None]:
        """Turn an OSError into a UserError that names the folder."""
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{short_path(self.folder)}: images cannot be stored here ({error.strerror or error}). Make room or "
                "give access, then start the same command again; what is stored already is kept."
            ) from error


def _url_digest(url: str) -> str:
    """SHA-256 of an address: the stem of its image's file name."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry) + "\n"  # ASCII, so that half of a surrogate pair in an address does no harm


def _parse(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        typed = all(isinstance(entry[key], str) for key in ("url", "reason", "detail"))
        return entry if typed and isinstance(entry["max_bytes"], int) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
