"""SHA-256 of plain values.

The digests name folders and are stored in files, so the same values must give the same digest in every later version.
"""

import hashlib
import json
from typing import Any


def json_digest(content: Any, compact: bool = True) -> str:
    """Compute the SHA-256, in hexadecimal, of `content` as ASCII JSON with sorted keys.

    A value that JSON has no type for enters as its `str`.

    Args:
        compact: write no blank behind commas and colons; the digest depends on it.
    """
    separators = (",", ":") if compact else (", ", ": ")
    plain = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=separators, default=str)
    return hashlib.sha256(plain.encode("ascii")).hexdigest()
