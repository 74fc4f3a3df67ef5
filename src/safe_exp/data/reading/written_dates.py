"""Dates that are written with numbers alone, such as 05.03.2024: a whole column of them is read in one order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from safe_exp.config.data import DateOrder
from safe_exp.system.errors import UserError

_NUMBERS = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?=\D|$)")


def written_date(value: object) -> str | None:
    """Return a date whose numbers can stand in several orders, as it is written; None for every other value."""
    if not isinstance(value, str):
        return None
    found = _NUMBERS.match(value.strip())
    return found.group() if found else None


def choose_order(dates: Sequence[str]) -> DateOrder:
    """Choose the one order in which every date of a column can be read.

    Args:
        dates: as `written_date` returned them, at least one.
    Raises:
        UserError: no order fits all, or several do and the dates have no dots; dotted ones are written day first.
    """
    fitting = [order for order in DateOrder if all(read_written(value, order) for value in dates)]
    if len(fitting) > 1:  # the year stands last where it can
        fitting = [order for order in fitting if order is not DateOrder.ymd]
    if DateOrder.dmy in fitting and any("." in value for value in dates):
        return DateOrder.dmy
    if len(fitting) == 1:
        return fitting[0]
    ways = " or ".join(f"data.dates={order.value}" for order in fitting or DateOrder)
    if fitting:
        trouble = f"can be read as {' or '.join(str(read_written(dates[0], order)) for order in fitting)}"
        example = dates[0]
    else:
        readable = {order: [value for value in dates if read_written(value, order)] for order in DateOrder}
        best = max(readable, key=lambda order: len(readable[order]))
        example = next(value for value in dates if not read_written(value, best))
        trouble = f"is no date in the order {best.value}, in which {len(readable[best])} of the others can be read"
    raise UserError(
        f"data.split=date: the order of day and month is not certain: {example} {trouble} ({len(dates)} dates are "
        f"written so). Give it by {ways}."
    )


def read_written(value: str, order: DateOrder) -> date | None:
    """Read a date in an order; None where it is none. A year of two digits is from 1970 to 2069."""
    found = _NUMBERS.match(value)
    if found is None:
        return None
    first, _, second, third = found.groups()
    if order is DateOrder.ymd:
        year, month, day = first, second, third
        if len(first) != 2 or len(third) == 4:
            return None
    else:
        year = third
        day, month = (first, second) if order is DateOrder.dmy else (second, first)
    number = int(year)
    try:
        return date(number if len(year) == 4 else number + (1900 if number >= 70 else 2000), int(month), int(day))
    except ValueError:
        return None
