"""Classes that a config names by their path: `_target_`."""

from __future__ import annotations

import pkgutil
from typing import Any, TypeVar

from safe_exp.system.errors import UserError, first_line

Base = TypeVar("Base")


def find_class(key: str, path: Any, base: type[Base]) -> type[Base]:
    """Import the class that a config names, which must be a `base`.

    Args:
        key: dotted key of `path`, for messages.
        path: module and name of the class, such as torch.optim.Adam.
    Raises:
        UserError: it cannot be imported, or is no subclass of `base`.
    """
    if not path or not isinstance(path, str):
        raise UserError(f"{key} must be given: the module and the name of a class, as in {key}=my_module.MyClass.")
    try:
        found = pkgutil.resolve_name(path)
    except Exception as error:  # whatever the module of a user may raise
        raise UserError(
            f"{key}={path}: this class cannot be imported ({first_line(error)}). Give its module and name; a module in "
            "the folder where the command runs is found."
        ) from error
    if not isinstance(found, type) or not issubclass(found, base):
        raise UserError(f"{key}={path}: expected a subclass of {base.__module__.partition('.')[0]}'s {base.__name__}.")
    return found
