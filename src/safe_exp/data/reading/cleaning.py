"""What crawlers leave in titles, bodies and dates, made plain."""

from __future__ import annotations

import html
import re
import unicodedata
from datetime import datetime, timedelta, timezone
from typing import Any

# 200,000 characters are 30,000 words, ten times the longest news feature; what follows is a dump, and only the first
# `data.max_text_tokens` words are read by the network anyway.
MAX_TEXT_CHARS = 200_000
CLEANING = 1  # raised when a cleaned text would come out different, so that older prepared data are not taken for new

_HIDDEN = re.compile(r"<(script|style|noscript)\b[^>]*>.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
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
EARLIEST, LATEST = 1900, 2100  # a year outside is a crawler's zero or a typing error


def as_text(value: Any) -> str:
    """A JSON or table value as plain text: crawlers write null, "null", numbers and lists where a string belongs."""
    if isinstance(value, str):
        text = clean_text(value)
        return "" if text.casefold() in ("null", "none", "nan") else text
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # not by way of a float, which a number of a few hundred digits would overflow
    if isinstance(value, float):
        return "" if value != value else str(int(value) if value.is_integer() else value)  # 1.0 is a 1
    if isinstance(value, list):
        return " ".join(filter(None, map(as_text, value[:1000])))
    return ""


def clean_text(text: str) -> str:
    """Text without HTML remnants, control and invisible characters, at most MAX_TEXT_CHARS long.

    Only what is certainly a tag or an entity goes: "a < b" and "AT&T" stay as they are.
    """
    text = text[: 4 * MAX_TEXT_CHARS]  # markup may be three quarters of a page
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
    if "<" in text:
        text = _TAG.sub(" ", _HIDDEN.sub(" ", text))
    text = _CONTROL.sub(" ", _INVISIBLE.sub("", text))
    # JSON may hold half of a surrogate pair ("\ud83d"); Python reads it, but it cannot be written as UTF-8 again.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text.strip()[:MAX_TEXT_CHARS].rstrip()


MOST_SECONDS = 10**18  # far beyond any date, in milliseconds too


def iso_date(value: Any) -> str | None:
    """A publication date as YYYY-MM-DD in UTC, or None where there is none to be read.

    Understood are seconds or milliseconds since 1970, MongoDB's {"$date": …}, ISO dates, and what python-dateutil reads
    when it names day, month and year. Of 03/04/2020 the month is taken to come first, as American sites write it.
    """
    if isinstance(value, dict):
        value = value.get("$date")
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        # JSON knows integers that no float holds.
        return _from_seconds(float(value)) if abs(value) < MOST_SECONDS else None
    if not isinstance(value, str) or len(value) > 100:
        return None
    value = unicodedata.normalize("NFKC", value).strip()
    if found := _MONGO_DATE.fullmatch(value):
        value = found.group(1).strip()
    # Eight digits may be 20200131; ten and thirteen are seconds and milliseconds.
    if _NUMBER.fullmatch(value) and len(value.split(".")[0]) >= 9:
        return _from_seconds(float(value))
    return _from_words(value)


def _from_seconds(seconds: float) -> str | None:
    if seconds == 0:  # "unknown", as crawlers write it
        return None
    if abs(seconds) > 1e11:  # milliseconds: as seconds it would be the year 5138
        seconds /= 1000
    try:
        return _within_reason(datetime.fromtimestamp(seconds, timezone.utc))
    except (OverflowError, OSError, ValueError):  # ValueError: NaN
        return None


def _from_words(value: str) -> str | None:
    from dateutil import parser  # 30 ms; only for data that have dates in words

    try:
        # Parsed against two different days: what the string does not name would differ between them.
        days = datetime(2000, 1, 1), datetime(2001, 2, 2)
        first, second = (parser.parse(value, default=day, tzinfos=_zone) for day in days)
        if first.date() != second.date():
            return None
        return _within_reason(first.astimezone(timezone.utc) if first.tzinfo else first)
    except (ValueError, OverflowError, TypeError, AttributeError):  # whatever a parser of free text can raise
        return None


def _zone(name: str | None, offset: int | None) -> timezone:
    # Abbreviations such as EST mean different zones in different places; a few hours rarely change the day.
    return timezone(timedelta(seconds=offset or 0))


def _within_reason(moment: datetime) -> str | None:
    return moment.date().isoformat() if EARLIEST <= moment.year <= LATEST else None
