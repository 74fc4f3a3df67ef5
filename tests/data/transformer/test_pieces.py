import pytest

from safe_exp.data.scripts import join_words
from safe_exp.data.transformer.pieces import Pieces
from safe_exp.system.errors import UserError
from tests.data.tiny_transformers import make_tokenizer


@pytest.fixture(scope="module")
def pieces():
    return Pieces(make_tokenizer())


def tokens(cut):
    return cut.encoding.tokens


def test_a_text_is_cut_without_special_tokens_padding_or_the_tokenizer_s_own_truncation(pieces):
    cut = pieces.cut("red boat reading word word word word", 100)
    assert tokens(cut) == ["red", "boat", "read", "##ing", *["word"] * 4]
    assert not cut.cut


def test_a_cut_counts_tokens_and_says_that_there_are_more(pieces):
    cut = pieces.cut("red boat reading", 3)
    assert tokens(cut) == ["red", "boat", "read"]
    assert cut.cut
    assert not pieces.cut("red boat reading", 4).cut


def test_special_tokens_that_stand_in_a_text_are_ordinary_characters(pieces):
    assert "[SEP]" not in tokens(pieces.cut("red [SEP] boat [PAD]", 50))


def test_a_long_text_is_cut_where_the_whole_text_would_be(pieces):
    text = " ".join(["reading", "internationally", "boat"] * 2000)
    whole = tokens(pieces.cut(text, 10**6))
    for most in (1, 7, 100, 3000):
        assert tokens(pieces.cut(text, most)) == whole[:most]


def test_tokens_of_the_title_are_counted(pieces):
    assert pieces.cut("reading boat word", 10, title_length=len("reading boat")).title == 3
    assert pieces.cut("reading boat word", 2, title_length=len("reading boat")).title == 2
    assert pieces.cut("word", 10).title == 0


def test_words_are_shown_as_they_stand_in_the_text_and_join_to_it(pieces):
    words = pieces.cut("Reading  the Red boat!", 50).words()
    assert words == ["Read", "##ing", "t", "##h", "##e", "Red", "boat", "!"]
    assert join_words(words) == "Reading the Red boat !"


def test_the_number_of_tokens_and_the_unknown_one_are_known(pieces):
    assert pieces.count == make_tokenizer().get_vocab_size()
    assert pieces.unknown == 1


def test_a_damaged_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer\.json: no tokenizer can be read .*copy complete"):
        Pieces.load(tmp_path)
