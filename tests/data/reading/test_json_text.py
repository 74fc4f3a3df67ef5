import io
import json

import pytest

from safe_exp.data.reading import json_text
from safe_exp.data.reading.json_text import BrokenJson, JsonText
from safe_exp.data.reading.untrusted import UnusableArticle


def read(text):
    return list(JsonText(io.StringIO(text)).elements())


VALUES = [{"a": "x, ]}", "b": [1, {"c": None}]}, 12, -3.5e2, 'é\\u00e9 "]', True, None, [], {}, "\U0001f600"]


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_elements_equal_those_of_json_however_the_text_is_cut_into_pieces(monkeypatch, piece, indent):
    monkeypatch.setattr(json_text, "PIECE_CHARS", piece)
    text = json.dumps(VALUES, indent=indent)
    assert read(text) == json.loads(text) == VALUES


def test_a_damaged_element_costs_itself_alone_and_names_its_line():
    one, broken, three, deep, last = read('[{"a": 1},\n{"a": b},\n{"a": 3},\n' + "[" * 9999 + "]" * 9999 + ', "x"]')
    assert (one, three, last) == ({"a": 1}, {"a": 3}, "x")
    assert isinstance(broken, UnusableArticle)
    assert (broken.reason, broken.detail) == ("row is not valid JSON", "line 2: Expecting value")
    assert "nested too deeply" in deep.detail


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": "x}, {"a": "y"}]', "has no end that can be told"),
        ('[{"a": "x}, {"a": "y}, {"a": "z"}]', "line 1: "),
        ('[{"a": 1}\n{"a": 2}]', "line 2: expected ',', found '{'"),
        ('[{"a": 1},\n{"a"', "line 2: "),
        ('[{"a": 1}', "expected ',', the file ends"),
        ("{}", r"expected '\[', found '{'"),
        ("", r"expected '\[', the file ends"),
    ],
)
def test_where_no_end_can_be_told_nothing_is_guessed(text, message):
    with pytest.raises(BrokenJson, match=message):
        read(text)


def test_members_are_read_or_skipped():
    text = JsonText(io.StringIO('{"skipped": {"a": [1, "]"]}, "wanted": [1, 2], "rest": 3}'))
    for name in text.members():
        if name == "wanted":
            assert list(text.elements()) == [1, 2]
        else:
            text.skip()
    assert text.peek() == json_text.END


def test_a_value_beyond_the_bound_is_refused(monkeypatch):
    monkeypatch.setattr(json_text, "PIECE_CHARS", 10)
    monkeypatch.setattr(json_text, "MAX_ARTICLE_BYTES", 50)
    with pytest.raises(BrokenJson, match="has no end that can be told"):
        read('["' + "x" * 1000 + '"]')
