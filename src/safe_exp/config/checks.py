"""Checks of values that several sections share. Each message names the key."""

import math
from typing import Any

from safe_exp.config.figure_names import BEST
from safe_exp.system.errors import UserError


def require_at_least(key: str, value: float, least: float) -> None:
    """Refuse a number below `least`, an infinity or NaN.

    Raises:
        UserError: it is one of these.
    """
    if not value >= least or math.isinf(value):  # `not >=` refuses NaN as well
        raise UserError(f"{key}={value}: expected a number >= {least}.")


def require_positive(key: str, value: float) -> None:
    """Refuse a number that is not above 0, an infinity or NaN.

    Raises:
        UserError: it is one of these.
    """
    if not value > 0 or math.isinf(value):
        raise UserError(f"{key}={value}: expected a number > 0.")


def require_threshold(value: Any) -> None:
    """Refuse a threshold that is neither a number between 0 and 1, both excluded, nor `best`.

    Raises:
        UserError: it is neither.
    """
    if value != BEST and not (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1):
        raise UserError(f"threshold={value}: expected a number between 0 and 1, or best (on validation, by macro F1).")
