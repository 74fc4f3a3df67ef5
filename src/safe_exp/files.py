"""Files that appear whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to; it takes the place of `path` when the block ends without an error.

    A reader, or a run that is killed at any moment, sees the old file or the new one and never a part of either.
    The name keeps the suffix of `path`, since libraries choose a format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield draft
        with open(draft, "rb") as handle:
            os.fsync(handle.fileno())  # else a power cut may leave the new name with no content
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def short_path(path: Path) -> Path:
    """`path` as the user would type it: relative to the working folder when it lies below."""
    path, here = Path(path).absolute(), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def write_json(path: Path, content: Any) -> None:
    """Write plain values as indented JSON; NaN and infinities are refused, since most readers choke on them."""
    with whole_file(path) as draft:
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
