"""SHA-256 of plain values. It names folders and stands in files: the same values must give the same digest for ever."""

import hashlib
import json
from typing import Any


def json_digest(content: Any, compact: bool = True) -> str:
    """SHA-256, in hexadecimal, of `content` as ASCII JSON with sorted keys; what JSON does not know enters as text.

    Args:
        compact: without a blank behind commas and colons.
    """
    separators = (",", ":") if compact else (", ", ": ")
    plain = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=separators, default=str)
    return hashlib.sha256(plain.encode("ascii")).hexdigest()
