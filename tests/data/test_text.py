import re
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from safe_exp.data.reading.cleaning import clean_text
from safe_exp.data.scripts import holds_unspaced
from safe_exp.data.text import (
    Cutting,
    build_tokenizer,
    frequent_words,
    split_words,
    vocabulary_words,
    without_needless_auto,
)

AUTO = Cutting("auto")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=600)
SCRIPTS = "ก้ำเาไ ກຳ້ ខ្មែ ក្រ မြန်္ 京か\u3099がガー々〆 aé9_ 한 བ་ 🇹🇭👍🏽 \u200d\ufe0f，。#"
MIXED_TEXT = st.text(st.sampled_from(SCRIPTS), max_size=300)
ADDRESSES = st.lists(
    st.sampled_from(["http", "https", "HTTP", "://", "www", ".", "/", "x", "(", ")", " ", "京", "é", "="])
)


def test_words_are_normalised_as_documented():
    words, more = split_words("IT'S 5PM!!! ﬁne ＡＢＣ 😀", 99)
    assert words == ["it", "'", "s", "5pm", "!!!", "fine", "abc", "😀"]
    assert not more


def test_a_text_is_cut_at_the_limit_and_says_so():
    assert split_words("a b c", 2) == (["a", "b"], True)
    assert split_words("a b c", 3) == (["a", "b", "c"], False)
    assert split_words(" \n\t ", 3) == ([], False)


def test_a_cut_text_gives_the_words_of_the_whole_one():
    long = " ".join(f"word{number}é" for number in range(100_000)) + " " + "x" * 1_000_000
    whole = build_tokenizer([]).pre_tokenizer.pre_tokenize_str(build_tokenizer([]).normalizer.normalize_str(long))
    for limit in (1, 20, 21, 22, 23, 130, 5000):
        assert split_words(long, limit) == ([word for word, _ in whole[:limit]], True)
    assert split_words("x" * 1_000_000, 5) == (["x" * 1_000_000], False)


@pytest.mark.parametrize("spaces", [1, 400, 5000])
def test_a_gap_longer_than_what_is_looked_at_first_hides_no_word(spaces):
    assert split_words("a" + " " * spaces + "b" + " " * spaces + "c", 2) == (["a", "b"], True)


def test_the_vocabulary_holds_exactly_the_words_that_are_frequent_enough_the_commonest_first():
    words, counts = ["a", "b", "c", "d"], np.array([2, 3, 1, 2])
    assert frequent_words(words, counts, 1) == ["b", "a", "d", "c"]
    assert frequent_words(words, counts, 2) == ["b", "a", "d"]
    assert frequent_words(words, counts, 4) == []


def test_a_tokenizer_numbers_the_words_from_2_and_cuts_as_split_words_does():
    tokenizer = build_tokenizer(["red", "boat"])
    assert vocabulary_words(tokenizer) == ["[PAD]", "[UNK]", "red", "boat"]
    assert tokenizer.encode("A RED boat").ids == [1, 2, 3]


def test_names_of_special_tokens_inside_an_article_are_ordinary_text():
    ids = build_tokenizer(["pad"]).encode("a [PAD] b [UNK]").ids
    assert 0 not in ids
    assert split_words("[PAD]", 9)[0] == ["[", "pad", "]"]


def test_a_tokenizer_read_back_from_its_file_gives_the_same_numbers(tmp_path):
    tokenizer = build_tokenizer(["the", "red", "boat", "'", "s"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert again.encode("The [PAD] BOAT's x").ids == tokenizer.encode("The [PAD] BOAT's x").ids


@settings(max_examples=200, deadline=None)
@given(
    ANY_TEXT | MIXED_TEXT | ADDRESSES.map("".join),
    st.integers(1, 8),
    st.sampled_from([Cutting(), AUTO, Cutting("spaces", False), Cutting("auto", False)]),
)
def test_any_text_is_cut_as_the_tokenizer_cuts_it(text, limit, cutting):
    words, more = split_words(text, limit, cutting)
    tokens = build_tokenizer(words, cutting).encode(text).tokens
    assert words == tokens[:limit]
    assert more == (len(tokens) > limit)


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT | st.text(st.sampled_from("a é’“”—9_#@😀한བ་ह\u0301\u200d\ufe0f \n"), max_size=300), st.integers(1, 99))
def test_texts_of_scripts_with_spaces_are_cut_by_auto_as_by_spaces(text, limit):
    words, more = split_words(text, limit)
    if not any(map(holds_unspaced, words)):
        assert split_words(text, limit, AUTO) == (words, more)


@settings(max_examples=300, deadline=None)
@given(MIXED_TEXT)
def test_auto_cuts_words_further_and_loses_no_letter(text):
    words, _ = split_words(text, 999)
    pieces, _ = split_words(text, 999, AUTO)
    assert "".join(pieces) == "".join(words)
    for word in words:
        cut, _ = split_words(word, 999, AUTO)
        assert cut == pieces[: len(cut)]
        pieces = pieces[len(cut) :]
    assert not pieces


SYLLABLES = [
    "ก",
    "น้",
    "ที่",
    "เ",
    "า",
    "ะ",
    "กู",
    "ไ",
    "ກ",
    "ດີ",
    "ນ້",
    "京",
    "都",
    "か",
    "か\u3099",
    "が",
    "ガ",
    "ー",
    "々",
]
SYLLABLES += ["ក", "ខ្មែ", "ក្រ", "ស្ត្រី", "မြ", "န်", "မ္ဘ", "葛\U000e0100", "京\u200d", "9", "é", "e\u0301"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(SYLLABLES)))
def test_letters_keep_their_marks_as_in_grapheme_clusters(syllables):
    regex = pytest.importorskip("regex", reason="its \\X knows the characters that people see; transformers brings it")
    text = "".join(syllables)
    theirs = regex.findall(r"\X", unicodedata.normalize("NFKC", text))
    ours, _ = split_words(text, 999, AUTO)
    assert [
        cluster for word in ours for cluster in (regex.findall(r"\X", word) if word[0] in "9é" else [word])
    ] == theirs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("记者说：5G来了。", ["记", "者", "说", ":", "5g", "来", "了", "。"]),
        ("2020年ニュースがＡＢＣ", ["2020", "年", "ニ", "ュ", "ー", "ス", "が", "abc"]),
        ("ｶﾞｽ か\u3099", ["ガ", "ス", "が"]),
        ("ที่นี่น้ำ ๑๒๓", ["ที่", "นี่", "น้\u0e4d\u0e32", "๑๒๓"]),
        ("ນ້ຳ", ["ນ້\u0ecd\u0eb2"]),
        ("ប្រទេសខ្មែរ", ["ប្រ", "ទេ", "ស", "ខ្មែ", "រ"]),
        ("မြန်မာကမ္ဘာ", ["မြ", "န်", "မာ", "က", "မ္ဘာ"]),
        ("葛\U000e0100城", ["葛\U000e0100", "城"]),
        ("한국어 단어", ["한국어", "단어"]),
        ("བོད་ཡིག", ["བོད", "་", "ཡིག"]),
        ("हिन्दी العربية", ["हिन्दी", "العربية"]),
    ],
)
def test_each_script_is_cut_by_auto_as_worked_out_by_hand(text, words):
    assert split_words(text, 99, AUTO) == (words, False)


def test_a_cut_text_of_a_script_without_spaces_gives_the_words_of_the_whole_one():
    text = "".join("น้ำ京か\u3099ខ្មែ，5g "[n % 14 :: 3] for n in range(5000))
    whole, _ = split_words(text, 10**6, AUTO)
    for limit in (1, 20, 21, 22, 130, 2000):
        assert split_words(text, limit, AUTO) == (whole[:limit], True)


def read_page_of_words() -> dict[str, list[str]]:
    """Read the table of docs/tutorial.md: a text, and its words with data.keep_urls=true and false."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
    section = page.split("\n## Words\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    return {text: [re.findall(r"`(.+?)`", cell) for cell in cells] for text, *cells in rows}


PAGE = read_page_of_words()


def test_the_page_has_a_row_for_each_kind_of_sign():
    for sign in ("#", "@", "😀", "https://t.co", "www."):
        assert any(sign in text for text in PAGE)


@pytest.mark.parametrize("text", PAGE)
def test_signs_of_social_media_are_cut_as_the_page_says(text):
    kept, replaced = PAGE[text]
    assert split_words(clean_text(text), 99, AUTO)[0] == kept
    assert split_words(clean_text(text), 99, Cutting("auto", keep_urls=False))[0] == (replaced or kept)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "(see HTTPS://x.org/a_(b)?q=1#é).",
            [
                "(",
                "see",
                "url",
                "#",
                "é",
                ").",
            ],
        ),
        ("看http://t.cn/zQ8大家www.a.cn好", ["看", "url", "大", "家", "url", "好"]),
        ("http://x.y,http://z.w!", ["url", "!"]),
        ("awww.so www. http:// ftp://x", ["awww", ".", "so", "www", ".", "http", "://", "ftp", "://", "x"]),
    ],
)
def test_an_address_ends_where_other_writing_begins(text, words):
    assert split_words(text, 99, Cutting("auto", keep_urls=False))[0] == words


@pytest.mark.parametrize("text", ["http://" * 40_000, "www." * 70_000, "http://" + ")" * 250_000, "www.(" * 50_000])
def test_addresses_are_found_in_linear_time(text):
    seconds = []
    for length in (len(text) // 4, len(text)):
        start = time.perf_counter()
        split_words(text[:length], 10**6, Cutting("spaces", keep_urls=False))
        seconds.append(time.perf_counter() - start)
    assert seconds[1] < 10 * seconds[0] + 0.05  # 4 if linear, 16 if quadratic


def test_only_what_differs_from_the_first_version_is_recorded():
    assert Cutting().settings() == {}
    assert Cutting("auto", False).settings() == {"words": "auto", "keep_urls": False}
    assert Cutting.from_settings({"max_text_tokens": 9}) == Cutting("spaces", True)
    assert Cutting.from_settings({"words": "jieba", "x": 1}) == Cutting("jieba", True)
    assert Cutting("jieba", False).of_captions() == Cutting("jieba", True)


def test_auto_is_recorded_only_where_it_changes_a_word():
    settings = {"a": 1, "words": "auto"}
    assert without_needless_auto(settings, ["the", "naïve", "한국어", "😀"]) == {"a": 1}
    assert without_needless_auto(settings, ["the", "京"]) == settings
    assert without_needless_auto({"words": "jieba"}, ["the"]) == {"words": "jieba"}
