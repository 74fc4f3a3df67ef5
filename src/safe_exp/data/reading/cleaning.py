"""Cleaning of titles, bodies and dates: the traces of crawlers are removed."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

# 200,000 characters are 30,000 words, ten times the longest news feature; a longer text is a dump. The network reads
# only the first `data.max_text_tokens` words in any case.
MAX_TEXT_CHARS = 200_000
MAX_LIST_ITEMS = 1000  # read of a list that stands for a text
EMPTY = ("", "null", "none", "nan")  # texts, in lower case, that crawlers and tables write for nothing
CLEANING_VERSION = 1  # raised when the same text is cleaned differently, so that older prepared data are made anew

_HIDDEN_START = re.compile(r"<(?:!--|(script|style|noscript)\b)", re.IGNORECASE)
_HIDDEN_END = {  # by what begins
    "!--": re.compile("-->"),
    **{name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in ("script", "style", "noscript")},
}
_TAG = re.compile(
    r"</?(?:a|abbr|article|aside|b|blockquote|body|br|button|caption|center|cite|code|dd|del|details|div|dl|dt|em|"
    r"figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|label|li|link|main|mark|meta|"
    r"nav|ol|option|p|picture|pre|q|s|section|select|small|source|span|strike|strong|sub|summary|sup|svg|table|tbody|"
    r"td|tfoot|th|thead|time|title|tr|u|ul|video)\b(?:\s[^<>]{0,2000})?/?>",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Zero-width and direction marks, soft hyphens, byte-order marks in mid-text: invisible, and they tear words apart.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_MONGO_DATE = re.compile(r"""\{\s*["']\$date["']\s*:\s*["']?([^"'}]+)["']?\s*\}""")
EARLIEST_YEAR, LATEST_YEAR = 1900, 2100  # a year outside is a crawler's zero or a typing error
MAX_TIMESTAMP = 10**18  # far beyond any date, in milliseconds too


def as_text(value: Any) -> str:
    """Turn a JSON or table value into plain text: crawlers write null, "null", numbers and lists for a string."""
    if isinstance(value, str):
        text = clean_text(value)
        return "" if text.casefold() in EMPTY else text
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # not as a float, which a number of a few hundred digits would overflow
    if isinstance(value, float):
        return "" if value != value else str(int(value) if value.is_integer() else value)  # 1.0 is a 1
    if isinstance(value, list):
        return " ".join(filter(None, map(as_text, _leaves(value))))
    return ""


def _leaves(value: list[Any]) -> Iterator[Any]:
    """Yield what lists in lists hold, at whatever depth, the first MAX_LIST_ITEMS of each list."""
    waiting = [iter(value[:MAX_LIST_ITEMS])]
    while waiting:
        item = next(waiting[-1], waiting)
        if item is waiting:
            waiting.pop()
        elif isinstance(item, list):
            waiting.append(iter(item[:MAX_LIST_ITEMS]))
        else:
            yield item


def clean_text(text: str) -> str:
    """Remove HTML remnants, control and invisible characters, and cut the text to MAX_TEXT_CHARS.

    Only certain tags and entities are removed: "a < b" and "AT&T" stay as they are.
    """
    text = text[: 4 * MAX_TEXT_CHARS]  # markup may be three quarters of a page
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
    if "<" in text:
        text = _TAG.sub(" ", _remove_hidden(text))
    text = _CONTROL.sub(" ", _INVISIBLE.sub("", text))
    # JSON may hold half of a surrogate pair ("\ud83d"). Python reads it, but cannot write it as UTF-8.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text.strip()[:MAX_TEXT_CHARS].rstrip()


def _remove_hidden(text: str) -> str:
    """Replace comments and the contents of script, style and noscript by a blank; those without an end stay.

    Takes time linear in the text, which one regular expression would not where many begin and none ends.
    """
    kept, done, unended = [], 0, set()
    while start := _HIDDEN_START.search(text, done):
        name, end = (start[1] or "!--").lower(), None
        if name not in unended:
            inner = start.end() if name == "!--" else text.find(">", start.end()) + 1
            end = _HIDDEN_END[name].search(text, inner) if inner else None  # 0: the opening tag itself has no end
        if end is None:
            unended.add(name)
        kept += [text[done : start.start()], text[start.start() : start.end()] if end is None else " "]
        done = start.end() if end is None else end.end()
    return "".join([*kept, text[done:]])


def iso_date(value: Any) -> str | None:
    """Read a publication date as YYYY-MM-DD in UTC; None where the value is no date.

    Read are seconds or milliseconds since 1970, MongoDB's {"$date": …}, ISO dates, and texts that name day, month and
    year, as python-dateutil reads them. 03/04/2020 is the 4th of March, as American sites write it.
    """
    if isinstance(value, dict):
        value = value.get("$date")
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        # JSON may hold integers that no float can.
        return _from_seconds(float(value)) if abs(value) < MAX_TIMESTAMP else None
    if not isinstance(value, str) or len(value) > 100:
        return None
    value = unicodedata.normalize("NFKC", value).strip()
    if found := _MONGO_DATE.fullmatch(value):
        value = found.group(1).strip()
    # Eight digits may be 20200131; ten are seconds and thirteen milliseconds.
    if _NUMBER.fullmatch(value) and len(value.split(".")[0]) >= 9:
        return _from_seconds(float(value))
    return _from_words(value)


def _from_seconds(seconds: float) -> str | None:
    if seconds == 0:  # crawlers write 0 for "unknown"
        return None
    if abs(seconds) > 1e11:  # milliseconds: as seconds it would be the year 5138
        seconds /= 1000
    try:
        return _within_reason(datetime.fromtimestamp(seconds, timezone.utc))
    except (OverflowError, OSError, ValueError):  # ValueError: NaN
        return None


def _from_words(value: str) -> str | None:
    from dateutil import parser  # takes 30 ms to import, for dates in words only

    try:
        # Parsed with two different default days: a part that the text does not name differs between them.
        days = datetime(2000, 1, 1), datetime(2001, 2, 2)
        first, second = (parser.parse(value, default=day, tzinfos=_zone) for day in days)
        if first.date() != second.date():
            return None
        return _within_reason(first.astimezone(timezone.utc) if first.tzinfo else first)
    except (ValueError, OverflowError, TypeError, AttributeError):  # a parser of free text raises all of these
        return None


def _zone(name: str | None, offset: int | None) -> timezone:
    # Abbreviations such as EST mean different zones in different places; a few hours rarely change the day.
    return timezone(timedelta(seconds=offset or 0))


def _within_reason(moment: datetime) -> str | None:
    return moment.date().isoformat() if EARLIEST_YEAR <= moment.year <= LATEST_YEAR else None
