"""Word cutters: each keeps every letter of a text, cuts only its own script, and says how its package is installed."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from safe_exp.data.text import MAX_RUN, Cutting, _load_cutter, split_words
from safe_exp.data.word_cutters import WordCutter, word_cutters
from safe_exp.system.errors import UserError
from tests.made import compose_config

SENTENCES = {  # words as the packages' own documentation cuts them
    "jieba": ("我来到北京清华大学", ["我", "来到", "北京", "清华大学"]),
    "newmm": ("ผมรักคุณ", ["ผม", "รัก", "คุณ"]),
    "sudachi": ("国家公務員", ["国家", "公務", "員"]),
}


@pytest.fixture
def halves(monkeypatch):
    """A word cutter of Chinese that cuts runs into pairs of letters, and counts the runs."""
    runs = []

    def cut(run):
        runs.append(run)
        return [run[i : i + 2] for i in range(0, len(run), 2)]

    monkeypatch.setitem(word_cutters._entries, "halves", WordCutter("halves", "\u4e00-\u9fff", lambda: cut))
    yield runs
    _load_cutter.cache_clear()


def test_a_cutter_cuts_runs_of_its_own_letters_and_the_others_are_cut_one_by_one(halves):
    words, more = split_words("北京市民，ABC今天2020年 です!", 99, Cutting("halves"))
    assert words == ["北京", "市民", ",", "abc", "今天", "2020", "年", "で", "す", "!"]
    assert not more
    assert halves == ["北京市民", "今天", "年"]


@pytest.mark.parametrize("limit", [1, 2, 40, 100, 333])
def test_a_long_text_is_cut_as_its_beginning_is(halves, limit):
    text = "，".join("北京市民今"[: 1 + n % 5] * (1 + n % 30) for n in range(400))
    whole, _ = split_words(text, 10**6, Cutting("halves"))
    assert split_words(text, limit, Cutting("halves")) == (whole[:limit], True)


def test_a_run_without_end_is_given_to_a_cutter_in_pieces(halves):
    words, _ = split_words("京" * (3 * MAX_RUN + 1), 10**6, Cutting("halves"))
    assert max(map(len, halves)) == MAX_RUN
    assert sum(map(len, words)) == 3 * MAX_RUN + 1


def test_english_texts_do_not_ask_a_cutter(halves):
    assert split_words("It's “5 pm”", 99, Cutting("halves"))[0] == ["it", "'", "s", "“", "5", "pm", "”"]
    assert not halves


@pytest.mark.parametrize("name", SENTENCES)
def test_the_package_cuts_as_it_documents(name):
    pytest.importorskip(word_cutters[name].package, reason=f'pip install "safe-exp[{name}]"')
    text, words = SENTENCES[name]
    assert split_words(text, 99, Cutting(name)) == (words, False)
    mixed = "Ok 记者通过北京，国家公務員は東京都でニュースを読みました ประเทศไทยน้ำใจ 😀"
    found, _ = split_words(mixed, 999, Cutting(name))
    by_letter, _ = split_words(mixed, 999, Cutting("auto"))
    assert "".join(found).replace("\u0e33", "\u0e4d\u0e32") == "".join(by_letter)
    assert len(found) < len(by_letter)


def test_thai_words_are_looked_up_with_the_vowel_am_in_one_piece():
    pytest.importorskip("pythainlp", reason='pip install "safe-exp[newmm]"')
    assert split_words("น้ำใจ", 9, Cutting("newmm"))[0] == ["น้ำใจ"]


def test_jieba_is_given_its_own_dictionary_and_no_file_of_the_temporary_folder(monkeypatch):
    """A stand-in of the package, where it is not installed: which of its functions are used, and how."""

    class Tokenizer:
        FREQ, total, initialized = {}, 0, False

        def get_dict_file(self):
            return "own"

        def gen_pfdict(self, file):
            return {"北京": 1, "file": file}, 1

        def initialize(self):
            raise AssertionError("it reads a cache that anybody may have written")

        def lcut(self, run):
            assert self.initialized
            assert self.FREQ["file"] == "own"
            return ["北京", run[2:]]

    package = ModuleType("jieba")
    package.__spec__, package.Tokenizer = ModuleSpec("jieba", None), Tokenizer
    monkeypatch.setitem(sys.modules, "jieba", package)
    _load_cutter.cache_clear()
    assert split_words("去 北京人", 9, Cutting("jieba"))[0] == ["北京", "北京", "人"]
    _load_cutter.cache_clear()


@pytest.mark.parametrize("name", sorted(SENTENCES))
def test_a_missing_package_is_one_message_with_the_command_that_installs_it(name, monkeypatch):
    package = word_cutters[name].package
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr("safe_exp.system.extras.find_spec", lambda _: None)
    _load_cutter.cache_clear()
    with pytest.raises(UserError, match=rf'data\.words={name} needs the package {package}.*"safe-exp\[{name}\]"'):
        split_words("北京 ไทย", 9, Cutting(name))


def test_an_unknown_name_is_refused_with_the_list_before_anything_is_read():
    with pytest.raises(UserError, match=r"data\.words=jeiba: expected one of auto, .*jieba.*spaces"):
        compose_config("data.words=jeiba")
