"""The letters of scripts without spaces, compared with Unicode's own table of scripts."""

import re
import unicodedata

import pytest

from safe_exp.data.scripts import UNSPACED, blank_between, holds_unspaced, join_words

SCRIPTS = r"\p{Han}\p{Bopomofo}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
COMMON = {"ー"}  # Unicode counts the prolonged sound mark to no script
RARE = range(0x16FE0, 0x17000)  # marks of old Chinese books, beside Tangut


def test_the_letters_are_those_of_the_scripts_in_unicode():
    regex = pytest.importorskip("regex", reason="it knows the script of each character; transformers brings it")
    theirs = regex.compile(rf"(?V1)[[{SCRIPTS}]&&[\p{{L}}\p{{Nl}}]]")
    ours = re.compile(f"[{UNSPACED}]")
    # As after normalisation, which replaces compatibility characters; and no code point without a character.
    characters = [chr(code) for code in range(0x110000) if code not in range(0xD800, 0xE000) and code not in RARE]
    normal = [c for c in characters if unicodedata.category(c) != "Cn" and unicodedata.is_normalized("NFKC", c)]
    assert {c for c in normal if ours.match(c)} - {c for c in normal if theirs.match(c)} == COMMON
    assert not {c for c in normal if theirs.match(c)} - {c for c in normal if ours.match(c)}


@pytest.mark.parametrize(
    "text", ["", "plain", "“Ünïcode”—…", "한국어 단어", "བོད་ཡིག", "हिन्दी", "العربية", "😀", "、。！"]
)
def test_scripts_with_spaces_and_signs_are_not_among_them(text):
    assert not holds_unspaced(text)


@pytest.mark.parametrize("text", ["a 京", "ニュース", "です", "ไทย", "ລາວ", "ខ្មែរ", "မြန်မာ"])
def test_a_single_letter_of_such_a_script_is_found(text):
    assert holds_unspaced(text)


def test_people_read_no_blanks_between_chinese_words():
    assert join_words(["the", "red", "boat", "!"]) == "the red boat !"
    assert join_words(["记者", "通过", "。", "5g", "北", "京"]) == "记者通过。 5g 北京"
    assert join_words([]) == ""
    assert (blank_between("北", ""), blank_between("a", "")) == (" ", " ")
