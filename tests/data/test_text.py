from collections import Counter

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from safe_exp.data.text import build_tokenizer, encode_texts, vocabulary_words


def test_words_are_normalised_as_documented():
    tokenizer = build_tokenizer(["It's 5pm!!! ﬁne ＡＢＣ 😀"], min_frequency=1)
    assert tokenizer.encode("IT'S 5PM!!! fine abc 😀").tokens == ["it", "'", "s", "5pm", "!!!", "fine", "abc", "😀"]


def test_the_vocabulary_holds_exactly_the_words_that_are_frequent_enough():
    texts = ["b a b", "c a B", "d"]
    counts = Counter(" ".join(texts).lower().split())
    for least in (1, 2, 3, 4):
        words = vocabulary_words(build_tokenizer(texts, least))
        assert words[:2] == ["[PAD]", "[UNK]"]
        assert set(words[2:]) == {word for word, count in counts.items() if count >= least}


def test_a_vocabulary_beyond_the_trainers_default_limit_is_kept_whole():
    words = vocabulary_words(build_tokenizer((f"w{number}" for number in range(31_000)), 1))
    assert len(words) == 31_002


def test_texts_become_padded_rows_cut_at_the_limit():
    tokenizer = build_tokenizer(["red red red boat boat sea"], 1)  # numbered by frequency: red 2, boat 3, sea 4
    encoded = encode_texts(tokenizer, ["sea red", "", "boat zebra sea red"], max_tokens=3)
    assert encoded.tokens.tolist() == [[4, 2, 0], [0, 0, 0], [3, 1, 4]]
    assert encoded.tokens.dtype == torch.int64
    assert encoded.lengths.tolist() == [2, 0, 3]
    assert encoded.cut == 1


def test_names_of_special_tokens_inside_an_article_are_ordinary_text():
    tokenizer = build_tokenizer(["[PAD] [UNK] pad"], 1)
    ids = tokenizer.encode("a [PAD] b [UNK]").ids
    assert 0 not in ids


def test_a_text_of_punctuation_or_emoji_gives_tokens_and_white_space_gives_none():
    tokenizer = build_tokenizer(["!!! 😀😀"], 1)
    assert encode_texts(tokenizer, ["!!!", "😀😀", " \n\t "], 9).lengths.tolist() == [1, 1, 0]


def test_a_tokenizer_read_back_from_its_file_gives_the_same_numbers(tmp_path):
    tokenizer = build_tokenizer(["the red [PAD] boat's the"], 1)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert again.encode("The [PAD] BOAT's x").ids == tokenizer.encode("The [PAD] BOAT's x").ids


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=6), st.integers(1, 5)
)
def test_any_text_is_encoded_the_same_alone_and_among_others(texts, max_tokens):
    tokenizer = build_tokenizer(texts, 1)
    together = encode_texts(tokenizer, texts, max_tokens)
    for row, text in enumerate(texts):
        alone = encode_texts(tokenizer, [text], max_tokens)
        length = int(alone.lengths[0])
        assert together.lengths[row] == length <= max_tokens
        assert together.tokens[row, :length].tolist() == alone.tokens[0].tolist()
        assert not together.tokens[row, length:].any()
        assert (together.tokens[row, :length] > 0).all()  # padding occurs behind the words alone
