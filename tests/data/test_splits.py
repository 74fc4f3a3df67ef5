import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_exp.data.splits import copy_key, make_split
from safe_exp.errors import UserError
from tests.data.folders import article, folder_config

COPIES = ("A b, c", "a  B c!", "A-B\nC", "a b c")


def config(*overrides):
    return folder_config("unused", *overrides)


def balanced(count=100, sources=None):
    return [
        article(number, number % 2, source=None if sources is None else f"paper {number * 7 % sources}")
        for number in range(count)
    ]


def labels_of(articles):
    return np.array([item.label for item in articles])


def test_every_article_stands_on_exactly_one_side():
    split = make_split(balanced(101), config())
    rows = np.concatenate([split.train, split.val, split.test])
    assert sorted(rows.tolist()) == list(range(101))
    for side in split.sides().values():
        assert (np.diff(side) > 0).all()


def test_sides_have_the_sizes_and_the_balance_that_config_asks_for():
    articles = [article(number, int(number < 60)) for number in range(200)]  # 30 % fake
    split = make_split(articles, config("data.test_fraction=0.2", "data.val_fraction=0.16"))
    assert [len(side) for side in split.sides().values()] == [128, 32, 40]
    for side in split.sides().values():
        assert labels_of(articles)[side].mean() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("method", ["random", "source"])
def test_the_test_folds_partition_the_articles(method):
    articles = balanced(120, sources=40)
    tests = [
        make_split(articles, config(f"data.split={method}", "data.folds=5", f"data.fold={fold}")).test
        for fold in range(5)
    ]
    assert sorted(np.concatenate(tests).tolist()) == list(range(120))


def test_the_split_depends_on_its_seed_alone():
    articles = balanced()
    first, again = make_split(articles, config()), make_split(articles, config())
    other = make_split(articles, config("data.seed=1"))
    assert first.test.tolist() == again.test.tolist()
    assert first.val.tolist() == again.val.tolist()
    assert first.test.tolist() != other.test.tolist()


def test_copies_are_recognised_up_to_case_punctuation_and_white_space():
    keys = {copy_key(article(number, 0, text=text)) for number, text in enumerate(COPIES)}
    assert len(keys) == 1
    assert copy_key(article(9, 0, text="a b c d")) not in keys
    assert copy_key(article(1, 0, text="!!!")) != copy_key(article(2, 0, text="???"))


@pytest.mark.parametrize("method", ["random", "source"])
def test_copies_stand_on_one_side_whatever_their_label_and_publisher(method):
    articles = balanced(100, sources=30)
    articles += [
        article(1000 + 4 * group + k, k % 2, text=f"story {group} {text}", source=f"paper {group + k}")
        for group in range(5)
        for k, text in enumerate(COPIES)
    ]
    for seed in range(4):
        split = make_split(articles, config(f"data.split={method}", f"data.seed={seed}"))
        assert split.copies == 20
        side_of = {row: name for name, side in split.sides().items() for row in side.tolist()}
        for group in range(5):
            assert len({side_of[100 + 4 * group + k] for k in range(4)}) == 1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 45)), min_size=60, max_size=90), st.integers(0, 5))
def test_publishers_and_copies_never_straddle(drawn, seed):
    articles = [
        article(number, number % 2, text=f"text {text}", source=f"paper {source}" if source < 30 else None)
        for number, (source, text) in enumerate(drawn)
    ]
    try:
        split = make_split(articles, config("data.split=source", f"data.seed={seed}", "data.test_fraction=0.3"))
    except UserError:
        return  # too few groups, said in words: tested below
    for key in ("source", "text"):
        values = [{getattr(articles[row], key) for row in side} - {None} for side in split.sides().values()]
        assert sum(map(len, values)) == len(set().union(*values))


def test_two_spellings_of_an_address_are_one_publisher():
    spellings = ("http://www.Paper{}.com/", "https://paper{}.com", "paper{}.com")
    articles = [article(n, n % 2, source=spellings[n % 3].format(n % 20)) for n in range(120)]
    split = make_split(articles, config("data.split=source"))
    assert split.groups == 20


def test_articles_without_a_publisher_stand_alone_and_are_counted():
    articles = balanced(60, sources=10) + [article(100 + n, n % 2) for n in range(30)]
    split = make_split(articles, config("data.split=source"))
    assert split.without_source == 30
    assert split.groups == 10 + 30


def test_a_split_by_publishers_without_any_publisher_is_refused():
    with pytest.raises(UserError, match=r"none of the 100 articles names a publisher.*Use data\.split=random"):
        make_split(balanced(), config("data.split=source"))


def test_too_few_articles_or_publishers_of_a_class_are_refused_with_both_numbers():
    few = [article(number, int(number < 3)) for number in range(50)]
    with pytest.raises(
        UserError, match=r"data\.test_fraction: 5 parts .* at least 5 articles.* with fake news; there are 3.*larger"
    ):
        make_split(few, config())
    with pytest.raises(UserError, match=r"data\.folds: 10 parts .*with fake news; there are 3.*fewer data\.folds"):
        make_split(few, config("data.folds=10"))
    with pytest.raises(UserError, match=r"data\.val_fraction: 5 parts .*there are 4"):
        make_split([article(number, int(number < 5)) for number in range(50)], config())
    with pytest.raises(UserError, match=r"at least 5 publishers with fake news; there are 3.*data\.split=random"):
        make_split(balanced(60, sources=3), config("data.split=source"))


def test_copies_of_one_article_do_not_make_up_for_missing_articles():
    articles = [article(number, 0) for number in range(40)] + [article(100 + n, 1, text="same") for n in range(40)]
    with pytest.raises(UserError, match=r"copies counted once, with fake news; there are 1"):
        make_split(articles, config())


def test_a_side_left_with_one_class_is_refused():
    publishers = [(9, 9), (0, 1), (9, 2), (25, 9), (0, 9)]  # fake and real; scikit-learn deals the last one alone
    articles = [
        article(100 * number + k, int(k < fake), source=f"paper {number}")
        for number, (fake, real) in enumerate(publishers)
        for k in range(fake + real)
    ]
    with pytest.raises(
        UserError,
        match=r"data\.fold=1: the test split has 0 fake and 9 real .*Use fewer data\.folds, another data\.seed",
    ):
        make_split(articles, config("data.split=source", "data.folds=3", "data.fold=1", "data.val_fraction=0.33"))
