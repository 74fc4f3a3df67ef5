"""A split by time: the past is trained on, the newest is scored."""

import re
from collections.abc import Sequence
from datetime import date

import numpy as np

from safe_exp.system.errors import UserError

DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")
NO_DATE, BAD_DATE = "no date", "date is not year-month-day"


def split_by_date(
    groups: np.ndarray, dates: Sequence[str | None], val_fraction: float, test_fraction: float
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Train on the oldest articles, validate on the next and test on the newest; the days nearest to the fractions cut.

    A group of near-duplicates stands where its newest member stands, so that no word of a later article is trained on.
    All articles of a day stand on one side. Articles without a date cannot be placed and stand on none.

    Returns:
        Rows of train, val and test, and rows on no side by reason.
    Raises:
        UserError: fewer than three dates.
    """
    days = np.array([_day(value) for value in dates], dtype=np.int64)  # (N,) 0: NO_DATE, -1: BAD_DATE
    unplaced = {reason: np.flatnonzero(days == code) for reason, code in ((NO_DATE, 0), (BAD_DATE, -1))}
    unplaced = {reason: rows for reason, rows in unplaced.items() if len(rows)}
    rows = np.flatnonzero(days > 0)
    left_over = "".join(f"; {len(missing)} × {reason}" for reason, missing in unplaced.items())
    if not len(rows):
        raise UserError(
            f"data.split=date: none of the {len(days)} articles has a date that can be used{left_over}. Expected "
            "'publish_date' as in 2020-05-21. Use data.split=random or data.split=source."
        )
    newest = np.zeros(int(groups.max()) + 1, dtype=np.int64)
    np.maximum.at(newest, groups[rows], days[rows])
    day = newest[groups[rows]]  # (n,) of the newest near-duplicate
    distinct, count = np.unique(day, return_counts=True)
    if len(distinct) < 3:
        named = " and ".join(date.fromordinal(int(value)).isoformat() for value in distinct)
        raise UserError(
            f"data.split=date: the {len(rows)} dated articles, near-duplicates taken at their newest, have the "
            f"date{'s' * (len(distinct) > 1)} {named} only; past, next and newest need at least 3 dates{left_over}. "
            "Use data.split=random or data.split=source."
        )
    before = np.cumsum(count) - count  # (days,) articles older than each day
    test_at = 2 + int(np.abs(before[2:] - (1 - test_fraction) * len(rows)).argmin())
    val_share = 1 - test_fraction - val_fraction
    val_at = 1 + int(np.abs(before[1:test_at] - val_share * len(rows)).argmin())
    val_from, test_from = distinct[val_at], distinct[test_at]
    sides = {
        "train": rows[day < val_from],
        "val": rows[(day >= val_from) & (day < test_from)],
        "test": rows[day >= test_from],
    }
    return sides, unplaced


def _day(value: str | None) -> int:
    """A date as the number of its day, 0 for none and -1 for what is not a date. The time of day plays no part."""
    text = (value or "").strip()
    if not text:
        return 0
    try:
        # Newer Pythons read some runs of ten digits, which are mostly seconds since 1970, as a date.
        return date.fromisoformat(text[:10]).toordinal() if DAY.match(text) else -1
    except ValueError:
        return -1
