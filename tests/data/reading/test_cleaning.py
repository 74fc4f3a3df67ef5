import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_exp.data.reading.cleaning import MAX_TEXT_CHARS, _remove_hidden, as_text, clean_text, iso_date


@pytest.mark.parametrize(
    ("found", "clean"),
    [
        ("<p>One&nbsp;<b>two</b><br/>three</p>", "One\u00a0 two  three"),
        ("&lt;i&gt;x&lt;/i&gt; &amp; y", "x  & y"),
        ("<script>track(1 < 2)</script>kept<style>p {}</style>", "kept"),
        ("<!-- a comment -->kept", "kept"),
        ('<img src="a.jpg" alt="x">kept', "kept"),
        ("if a < b and b > c", "if a < b and b > c"),
        ("AT&T, R&D; <3", "AT&T, R&D; <3"),
        ("5 <apples> and <unknown tag>", "5 <apples> and <unknown tag>"),
        ("a\x00b\x07c\x9fd", "a b c d"),
        ("zero\u200bwidth soft\u00adhyphen \ufeffmark \u202eturned", "zerowidth softhyphen mark turned"),
        ("family \U0001f468\u200d\U0001f469", "family \U0001f468\u200d\U0001f469"),  # joins emoji, and Persian letters
        ("line\nbreak\tand tab", "line\nbreak\tand tab"),
        ("half \ud83d pair", "half ? pair"),
    ],
)
def test_what_crawlers_leave_is_removed_and_nothing_else(found, clean):
    assert clean_text(found) == clean


# One regular expression for it all, as cleaning had it once: right, but quadratic where nothing ends.
HIDDEN = re.compile(r"<(script|style|noscript)\b[^>]*>.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
PIECES = ["<script", ">", "<!--", "-->", "</script>", "</SCRIPT  >", "<style x='1'>", "</style", "a", " ", "<noscript>",
          "</noscript>", "<!-->", "<Style>", "</style>", "\n", "<scripty>"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@settings(max_examples=1000, deadline=None)
def test_hidden_parts_are_found_as_a_regular_expression_finds_them(text):
    assert _remove_hidden(text) == HIDDEN.sub(" ", text)


@pytest.mark.parametrize("unit", ["<!--", "<script>", "<script", "<script></style ", "</script ", "<a ", "&#1", "<a\t"])
def test_cleaning_takes_time_in_proportion_to_the_text(unit):
    def seconds(units):
        start = time.process_time()
        clean_text(unit * units)
        return time.process_time() - start

    # Eight times the text: 8 if linear, 64 if quadratic. A measurement that something disturbed is taken again.
    ratios = (seconds(40_000) / seconds(5_000) for _ in range(3))
    assert any(ratio < 25 for ratio in ratios)


def test_a_text_is_cut_at_its_bound():
    assert len(clean_text("x" * 10_000_000)) == MAX_TEXT_CHARS


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), ("null", ""), ("None", ""), (float("nan"), ""), ({"a": 1}, ""), (True, ""), (7, "7"), (1.0, "1"),
     (2.5, "2.5"), (["one", None, "two"], "one two"), ([], ""), (" x ", "x")],
)  # fmt: skip
def test_any_json_value_becomes_text(value, text):
    assert as_text(value) == text


def test_lists_in_lists_are_read_at_any_depth():
    nested = ["a", ["b", [["c"]], []], "d"]
    for _ in range(100_000):
        nested = [nested]
    assert as_text(nested) == "a b c d"
    assert as_text([["x"] * 5000, "y"]) == " ".join(["x"] * 1000 + ["y"])


@pytest.mark.parametrize(
    ("value", "date"),
    [
        (1590105600.0, "2020-05-22"),  # seconds since 1970
        ("1590105600", "2020-05-22"),
        (1474702231000, "2016-09-24"),  # milliseconds
        ({"$date": 1474702231000}, "2016-09-24"),
        ('{"$date": 1474702231000}', "2016-09-24"),
        ({"$date": "2016-09-24T07:30:31Z"}, "2016-09-24"),
        ("2020-01-02", "2020-01-02"),
        ("2020-01-02T23:30:00-05:00", "2020-01-03"),  # UTC
        ("20200131", "2020-01-31"),
        ("May 5, 2020", "2020-05-05"),
        ("Tue, 05 May 2020 10:00:00 GMT", "2020-05-05"),
        ("05/04/2020 10:00 PM EST", "2020-05-04"),
        ("March 2020", None),  # no day
        ("10:30", None),
        ("Monday", None),
        (0, None),  # how crawlers write "unknown"
        ("0001-01-01", None),
        (1e300, None),
        (float("nan"), None),
        ("9" * 60, None),
        (10**400, None),  # more than a float can hold
        (True, None),
        (["2020-01-02"], None),
        ("", None),
    ],
)
def test_dates_are_read_or_none(value, date):
    assert iso_date(value) == date


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.floats(), st.integers(), st.dictionaries(st.text(), st.text()), st.none()))
def test_no_value_is_too_odd(value):
    assert not set(as_text(value)) & {chr(code) for code in (*range(9), *range(14, 32), 127, 0xFEFF, 0xD800)}
    date = iso_date(value)
    assert date is None or len(date) == 10
