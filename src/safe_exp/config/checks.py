"""The two checks that most numbers need; each message names the key."""

import math

from safe_exp.errors import UserError


def require_at_least(key: str, value: float, least: float) -> None:
    if not value >= least or math.isinf(value):  # `not >=` refuses NaN as well
        raise UserError(f"{key}={value}: expected a number >= {least}.")


def require_positive(key: str, value: float) -> None:
    if not value > 0 or math.isinf(value):
        raise UserError(f"{key}={value}: expected a number > 0.")
