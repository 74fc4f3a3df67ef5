"""Classes that a config names by their path: `_target_`."""

from __future__ import annotations

from typing import Any, TypeVar

from safe_exp.system.errors import UserError
from safe_exp.system.named_objects import import_named

Base = TypeVar("Base")


def find_class(key: str, path: Any, base: type[Base]) -> type[Base]:
    """Import the class that a config names, which must be a `base`.

    Args:
        key: dotted key of `path`, for messages.
        path: module and name of the class, such as torch.optim.Adam.
    Raises:
        UserError: it cannot be imported, or is no subclass of `base`.
    """
    found = import_named(key, path)
    if not isinstance(found, type) or not issubclass(found, base):
        raise UserError(f"{key}={path}: expected a subclass of {base.__module__.partition('.')[0]}'s {base.__name__}.")
    return found
