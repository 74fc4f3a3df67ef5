"""The threshold above which a score is the verdict "fake"."""

from typing import Any

from safe_exp.system.errors import UserError

THRESHOLD = 0.5  # unless the key `threshold` says otherwise
BEST = "best"  # value of `threshold`: the one with the highest macro F1 on the validation articles


def require_threshold(value: Any) -> None:
    """Refuse a threshold that is neither a number between 0 and 1, both excluded, nor `best`.

    Raises:
        UserError: it is neither.
    """
    if value != BEST and not (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1):
        raise UserError(f"threshold={value}: expected a number between 0 and 1, or best (on validation, by macro F1).")
