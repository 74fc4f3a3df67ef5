"""The warnings that labels follow publishers, or what repeats, on made and on real articles."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from safe_exp.data.splitting.leakage import leakage_warning, publisher_accuracy, split_repeats_warning
from safe_exp.data.splitting.repeated import Carried
from safe_exp.data.splitting.splits import SplitColumns, make_split, number_publishers
from tests.data.folders import REAL_DATA, folder_config

NEEDS_REAL = pytest.mark.skipif(
    not REAL_DATA.is_dir(), reason="needs the real articles, which are not part of the project"
)


def columns(labels, sources):
    count = len(labels)
    return SplitColumns([str(n) for n in range(count)], np.array(labels), np.arange(count), sources, [None] * count)


def warning(articles, *overrides):
    config = folder_config("unused", *overrides)
    return leakage_warning(articles, make_split(articles, config), config)


def recovery():
    """Read label and publisher of every real article."""
    paths = sorted((REAL_DATA / "recovery").glob("*/*/news_article.json"))
    sources = [json.loads(path.read_text(encoding="utf-8"))["source"] for path in paths]
    return columns([int(path.parts[-3] == "fake") for path in paths], sources)


def test_the_accuracy_by_publisher_is_that_of_one_dummy_classifier_for_each_publisher():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    sources = [None if n % 9 == 0 else f"paper {n % 37}" for n in range(400)]
    articles = columns(labels, sources)
    split = make_split(articles, folder_config("unused"))
    overall = DummyClassifier(strategy="most_frequent").fit(split.train[:, None], labels[split.train])
    right = 0
    for row in split.test.tolist():
        known = [other for other in split.train.tolist() if sources[row] and sources[other] == sources[row]]
        tie = 2 * labels[known].sum() == len(known)
        classifier = (
            overall if tie else DummyClassifier(strategy="most_frequent").fit(np.array(known)[:, None], labels[known])
        )
        right += int(classifier.predict([[row]])[0] == labels[row])
    assert publisher_accuracy(labels, number_publishers(sources), split) == pytest.approx(right / len(split.test))


def test_labels_that_follow_publishers_are_said_with_figures_and_the_way_out():
    articles = columns([n % 2 for n in range(400)], [f"paper {n % 20}" for n in range(400)])
    said = warning(articles)
    assert "20 of 20 publishers stand on more than one side" in said
    assert "reaches 100.0% on the test articles (always giving the commoner answer: 50.0%)" in said
    assert "data.split=source" in said
    assert warning(articles, "data.split=source") is None


def test_publishers_without_regard_to_label_are_no_cause_for_a_warning():
    rng = np.random.default_rng(1)
    for seed in range(50):
        config = replace(folder_config("unused"), seed=seed)
        articles = columns([n % 2 for n in range(800)], [f"paper {n}" for n in rng.integers(0, 12, 800)])
        assert leakage_warning(articles, make_split(articles, config), config) is None


def test_articles_that_name_no_publisher_are_no_cause_for_a_warning():
    assert warning(columns([n % 2 for n in range(200)], [None] * 200)) is None


@NEEDS_REAL
def test_real_articles_whose_labels_belong_to_publishers_are_warned_of_unless_split_by_publisher():
    articles = recovery()
    for seed in range(5):
        assert "32 publishers" in warning(articles, f"data.seed={seed}")
        assert warning(articles, "data.split=source", f"data.seed={seed}") is None
    for fold in range(5):
        assert warning(articles, "data.split=source", "data.folds=5", f"data.fold={fold}") is None


def split_warning(labels, carriers):
    """Split articles, of which `carriers` begin alike, and give the warning."""
    labels = np.array(labels)
    articles = columns(labels, [None] * len(labels))
    split = make_split(articles, folder_config("unused"))
    carried = Carried(np.array(carriers), np.zeros(len(carriers), dtype=np.int64))
    described = ["the opening 'log in' begins 30 articles, all fake: a0, …"]
    return split_repeats_warning(carried, described, labels, articles.groups, split), split


def test_an_opening_of_one_class_on_both_sides_of_a_split_is_named_with_its_share_of_the_test():
    said, split = split_warning([1] * 100 + [0] * 100, range(30))
    met = int((split.test < 30).sum())
    assert said.startswith("What repeats over training and test articles follows the class: the opening 'log in' beg")
    assert " 30 articles, all fake: a0, …. A classifier" in said
    assert f"is right on {met} of the {met} test articles that have one met in training (of 40 test articles" in said
    assert "data.drop_repeated=true" in said


def test_an_opening_of_both_classes_or_on_one_side_alone_is_no_cause_for_a_warning():
    assert split_warning([1] * 100 + [0] * 100, range(85, 115))[0] is None
    _, split = split_warning([1] * 100 + [0] * 100, range(30))
    assert split_warning([1] * 100 + [0] * 100, split.train[split.train < 100])[0] is None


def test_openings_dealt_without_regard_to_the_class_are_hardly_ever_warned_of():
    rng = np.random.default_rng(2)
    labels = np.array([n % 2 for n in range(400)])
    articles = columns(labels, [None] * 400)
    split = make_split(articles, folder_config("unused"))
    said = []
    for _ in range(500):
        carried = Carried(rng.choice(400, 60, replace=False), np.repeat(np.arange(3), [10, 20, 30]))
        said.append(split_repeats_warning(carried, ["a", "b", "c"], labels, articles.groups, split))
    assert sum(text is not None for text in said) <= 5
