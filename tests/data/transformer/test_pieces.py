import json

import pytest
from tokenizers import Tokenizer, processors
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

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


@pytest.mark.parametrize("trim", [False, True])
def test_a_tokenizer_may_count_the_blank_before_a_word_to_it(trim):
    cutter = ByteLevel(add_prefix_space=False, trim_offsets=trim)
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer, tokenizer.post_processor = cutter, processors.ByteLevel(trim_offsets=trim)
    trainer = BpeTrainer(vocab_size=270, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(["Red boat seen"] * 3, trainer)
    cut = Pieces(tokenizer).cut("Red boat seen", 50, title_length=len("Red boat"))
    assert cut.words()[:4] == ["Red", "boat", "seen"]
    assert cut.title == 2
    assert join_words(Pieces(tokenizer).cut("Reds seen", 50).words()) == "Reds seen"


def test_the_number_of_tokens_and_the_unknown_one_are_known(pieces):
    assert pieces.count == make_tokenizer().get_vocab_size()
    assert pieces.unknown == 1


@pytest.mark.parametrize("change", [None, "model", "normalizer"])
def test_a_damaged_tokenizer_is_named(tmp_path, change):
    content = json.loads(make_tokenizer().to_str())
    changes = {
        "model": {**content["model"], "vocab": {"a": 0}},  # without [UNK]
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"},  # at which Rust panics
    }
    damaged = "{" if change is None else json.dumps(content | {"added_tokens": [], change: changes[change]})
    (tmp_path / "tokenizer.json").write_text(damaged)
    with pytest.raises(UserError, match=r"tokenizer\.json: no tokenizer can be read .*copy complete"):
        Pieces.load(tmp_path)
