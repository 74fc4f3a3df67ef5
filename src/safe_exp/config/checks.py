"""Checks of values that several sections share. Each message names the key."""

import math

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
