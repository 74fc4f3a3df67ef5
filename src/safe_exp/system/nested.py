"""Nested settings by dotted key, as on the command line."""

from collections.abc import Iterator, Mapping
from typing import Any


def walk(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key with its value; a section comes before its own keys."""
    for key, value in settings.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from walk(value, f"{prefix}{key}.")


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten nested settings to values by dotted key, without the sections; a list is a value."""
    return {key: value for key, value in walk(settings) if not isinstance(value, Mapping)}
