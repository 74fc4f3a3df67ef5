import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from safe_exp.data.text import build_tokenizer, frequent_words, split_words, vocabulary_words


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
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=600), st.integers(1, 8))
def test_any_text_is_cut_as_the_tokenizer_cuts_it(text, limit):
    words, more = split_words(text, limit)
    tokens = build_tokenizer(words).encode(text).tokens
    assert words == tokens[:limit]
    assert more == (len(tokens) > limit)
