from decimal import Decimal
from types import SimpleNamespace

import pytest

from safe_exp.config.data import LabelsConfig
from safe_exp.data.reading.articles import label_words
from safe_exp.data.reading.labels import Labels
from safe_exp.data.reading.untrusted import UnusableArticle
from safe_exp.system.errors import UserError

NUMBERS = LabelsConfig(fake=[1], real=["0"])


@pytest.mark.parametrize(
    "cell", [1, 1.0, "1", " 1 ", "1.0", "1,0", "1.00", Decimal("1"), True, [1], ["1"], "['1']", "[1]"]
)
def test_a_number_is_the_same_label_however_it_is_written(cell):
    assert Labels(NUMBERS).find(cell) == 1
    assert Labels(LabelsConfig(fake=["0"], real=["1.0"])).find(cell) == 0


@pytest.mark.parametrize("cell", ["FAKE", ["Fake"], '["Fake"]', "['fake']", "fake\u200b", "<b>fake</b>"])
def test_a_word_is_found_in_any_case_and_in_a_list_of_one(cell):
    assert Labels(LabelsConfig(fake=["Fake"], real=["True"])).find(cell) == 1


@pytest.mark.parametrize(("cell", "label"), [(True, 1), (False, 0), ("True", 1), ("false", 0)])
def test_truth_values_are_the_words_true_and_false(cell, label):
    assert Labels(LabelsConfig(fake=[True], real=[False])).find(cell) == label


@pytest.mark.parametrize("cell", ["None", "none", ["None"]])
def test_none_can_be_a_label_by_name_and_is_none_otherwise(cell):
    assert Labels(LabelsConfig(fake=["fake"], real=["none"])).find(cell) == 0
    with pytest.raises(UnusableArticle, match=r"label is not one of data\.labels"):
        Labels(LabelsConfig(fake=["fake"], real=["real"])).find(cell)


@pytest.mark.parametrize("cell", [None, "", "  ", float("nan"), "nan", []])
def test_an_empty_label_is_left_out_even_where_the_rest_is_a_class(cell):
    with pytest.raises(UnusableArticle, match=r"label is not one of data\.labels"):
        Labels(NUMBERS).find(cell)
    with pytest.raises(UnusableArticle, match="label is empty"):
        Labels(LabelsConfig(fake="rest", real=["orig"])).find(cell)


def test_the_rest_is_every_label_that_is_named_nowhere_else():
    labels = Labels(LabelsConfig(fake="rest", real=["orig"], ignore=["humor"]))
    assert [labels.find(cell) for cell in ("orig", "face_swap&text_swap", "no idea", 7)] == [0, 1, 1, 1]
    with pytest.raises(UnusableArticle) as caught:
        labels.find("Humor")
    assert caught.value.reason == "label is one of data.labels.ignore"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (["a", "b"], r"label is no single word \(2 of them in column verdict"),
        ({"a": 1}, r"label is no word \(a dict in column verdict"),
        ("maybe", r"label is not one of data.labels \('maybe' in column verdict; .*data\.labels\.fake=\[false\]"),
    ],
)
def test_a_label_of_an_odd_kind_says_so(cell, message):
    with pytest.raises(UnusableArticle, match=message):
        Labels(LabelsConfig(fake=["fake"], real=["real"]), "verdict").find(cell)


def test_settings_of_plain_lists_are_as_they_were():
    assert Labels(LabelsConfig(fake=["Fake", "0.0"], real=["real"])).settings == {
        "labels": {"fake": 1, "0.0": 1, "real": 0}
    }
    assert Labels(LabelsConfig(fake="rest", real=["orig"], ignore=["B", "a"])).settings == {
        "labels": {"orig": 0}, "other_labels": 1, "ignored_labels": ["a", "b"],
    }  # fmt: skip


def test_words_of_a_stored_config_need_no_list():
    labels = Labels(SimpleNamespace(fake="rest", real=["orig"]))
    assert (labels.find("x"), labels.find("orig")) == (1, 0)


def test_two_words_that_are_one_number_are_refused():
    with pytest.raises(UserError, match=r"data\.labels: 1\.0 stands for two classes"):
        Labels(LabelsConfig(fake=["1"], real=["1.0"]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (dict(fake="rest", real="rest"), r"fake and real are both rest"),
        (dict(fake=["rest", "b"], real=["a"]), r"data\.labels\.fake: rest stands for all labels .*and alone"),
        (dict(fake=[None], real=["a"]), r"data\.labels\.fake=\[None\]: expected words"),
        (dict(fake=["a"], real=["b"], ignore=["A"]), r"the word 'a' is given twice"),
        (dict(fake=[], real=["b"]), r"expected at least one word each"),
    ],
)
def test_words_that_contradict_each_other_are_refused(words, message):
    with pytest.raises(UserError, match=message):
        LabelsConfig(**words)


def test_where_articles_are_found_by_their_words_the_rest_means_nothing():
    assert label_words(LabelsConfig(fake=["Fake"], real=["real"])) == {"fake": 1, "real": 0}
    with pytest.raises(UserError, match=r"data\.labels\.real=rest: .*Name them, as in data\.labels\.real=\[real\]"):
        label_words(LabelsConfig(fake=["fake"], real="rest"))
