"""Split by date: train on the past, test on the newest articles."""

import re
from collections.abc import Sequence
from datetime import date

import numpy as np

from safe_exp.system.errors import UserError

DATE_PATTERN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")
NO_DATE, BAD_DATE = "no date", "date is not year-month-day"


def split_by_date(
    groups: np.ndarray, dates: Sequence[str | None], val_fraction: float, test_fraction: float
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Split N articles by date: the oldest for training, the next for validation, the newest for the test.

    The cuts fall between the days that come nearest to the fractions, and all articles of a day stand on one side. A
    group of near-duplicates stands where its newest member stands, so that no word of a later article is trained on.
    Articles without a date stand on no side.

    Args:
        groups: (N,) int64; near-duplicates share a number.
        dates: of N articles, as SplitColumns has them.
        val_fraction, test_fraction: of the dated articles.
    Returns:
        Rows (n,) int64 of train, val and test by name; and rows on no side by reason.
    Raises:
        UserError: no article has a date, or all together have fewer than three.
    """
    days = np.array([_number_day(value) for value in dates], dtype=np.int64)  # (N,) 0: NO_DATE, -1: BAD_DATE
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
    day = newest[groups[rows]]  # (n,) of the article's newest near-duplicate
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


def _number_day(value: str | None) -> int:
    """Number the day of a date, whatever its time of day; 0 for no date, -1 for a text that is none."""
    text = (value or "").strip()
    if not text:
        return 0
    try:
        # Newer Pythons take some runs of ten digits, mostly seconds since 1970, for a date.
        return date.fromisoformat(text[:10]).toordinal() if DATE_PATTERN.match(text) else -1
    except ValueError:
        return -1
