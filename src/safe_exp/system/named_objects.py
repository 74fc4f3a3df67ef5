"""Objects that a config names by their path, such as torch.optim.Adam or a class in a module of the user's own."""

from __future__ import annotations

import pkgutil
from typing import Any

from safe_exp.system.errors import UserError, first_line


def import_named(key: str, path: Any) -> Any:
    """Import the object that a config names.

    Args:
        key: dotted key of `path`, for messages.
        path: its module and name.
    Raises:
        UserError: there is none, or its module cannot be imported.
    """
    if not path or not isinstance(path, str):
        raise UserError(f"{key} must be given: the module and the name of a class, as in {key}=my_module.MyClass.")
    try:
        return pkgutil.resolve_name(path)
    except Exception as error:  # whatever the module of a user may raise
        raise UserError(
            f"{key}={path}: this class cannot be imported ({first_line(error)}). Give its module and name; a module in "
            "the folder where the command runs is found."
        ) from error
