import json
import time
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_exp.data.splitting import splits
from safe_exp.data.splitting.splits import SplitColumns
from safe_exp.system.errors import UserError
from tests.data.folders import REAL_DATA, article, folder_config, gather_columns

COPIES = ("A b, c", "a  B c!", "A-B\nC", "a b c")


def make_split(articles, config):
    return splits.make_split(gather_columns(articles), config)


def config(*overrides):
    return folder_config("unused", *overrides)


def balanced(count=100, sources=None):
    return [
        article(number, number % 2, source=None if sources is None else f"paper {number * 7 % sources}")
        for number in range(count)
    ]


def list_labels(articles):
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
        assert list_labels(articles)[side].mean() == pytest.approx(0.3, abs=0.02)


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
        assert split.near_duplicates == 20
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
    assert split.largest_group == 6


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


def dated(days, labels=None, texts=None):
    """Make an article for each day, counted from 1 January 2020; None has no date."""
    first = date(2020, 1, 1)
    return [
        article(
            number,
            number % 2 if labels is None else labels[number],
            text=None if texts is None else texts[number],
            date=None if day is None else (first + timedelta(days=int(day))).isoformat(),
        )
        for number, day in enumerate(days)
    ]


BY_DATE = ("data.split=date", "data.test_fraction=0.2", "data.val_fraction=0.15")


def test_by_date_the_past_is_trained_on_and_the_newest_is_tested():
    days = np.random.default_rng(0).permutation(100)
    split = make_split(dated(days), config(*BY_DATE))
    assert [len(side) for side in split.sides().values()] == [65, 15, 20]
    assert days[split.train].max() < days[split.val].min()
    assert days[split.val].max() < days[split.test].min()
    assert split.unplaced == {}


def test_by_date_all_articles_of_a_day_stand_on_one_side():
    days = np.repeat(np.arange(12), 9)  # the wished cuts fall into the middle of a day
    split = make_split(dated(days), config(*BY_DATE))
    assert [len(side) for side in split.sides().values()] == [72, 18, 18]
    assert len(np.intersect1d(days[split.train], days[split.val])) == 0
    assert len(np.intersect1d(days[split.val], days[split.test])) == 0


def test_by_date_a_group_stands_where_its_newest_article_stands():
    texts = [f"text {number}" for number in range(100)]
    texts[3] = texts[98]  # an old copy of one of the newest articles
    texts[5] = texts[70]  # and one of an article of the validation split
    split = make_split(dated(range(100), texts=texts), config(*BY_DATE))
    assert {3, 98} <= set(split.test.tolist())
    assert {5, 70} <= set(split.val.tolist())
    assert split.near_duplicates == 4
    assert split.groups == 98


def test_by_date_articles_without_a_date_stand_on_no_side_and_are_listed_by_reason():
    articles = dated([*range(60), None, None])
    articles += [
        article(100 + n, 0, date=when) for n, when in enumerate(("", "May 2020", "1588636800.0", "2020-02-30"))
    ]
    split = make_split(articles, config(*BY_DATE))
    assert {reason: rows.tolist() for reason, rows in split.unplaced.items()} == {
        "no date": [60, 61, 62],
        "date is not year-month-day": [63, 64, 65],
    }
    assert sorted(np.concatenate(list(split.sides().values())).tolist()) == list(range(60))
    assert split.groups == 60


def test_the_time_of_day_and_the_zone_play_no_part():
    plain = dated(range(40))
    timed = [article(n, n % 2, date=f"{item.date}T23:59:00-08:00") for n, item in enumerate(plain)]
    for left, right in zip(
        *(make_split(each, config(*BY_DATE)).sides().values() for each in (plain, timed)), strict=True
    ):
        assert left.tolist() == right.tolist()


def test_by_date_neither_seed_nor_the_order_of_equal_days_matters():
    first = make_split(dated(range(50)), config(*BY_DATE))
    assert make_split(dated(range(50)), config(*BY_DATE, "data.seed=7")).test.tolist() == first.test.tolist()


def test_too_few_dates_are_refused():
    with pytest.raises(
        UserError, match=r"40 dated articles.*have the date 2020-01-01 only; .*at least 3 dates\. Use data"
    ):
        make_split(dated([0] * 40), config(*BY_DATE))
    with pytest.raises(
        UserError, match=r"have the dates 2020-01-01 and 2020-01-06 only;.*at least 3 dates; 1 × no date"
    ):
        make_split(dated([0, 5] * 20 + [None]), config(*BY_DATE))
    with pytest.raises(
        UserError, match=r"none of the 30 articles has a date that can be used; 30 × no date\. Expected"
    ):
        make_split(dated([None] * 30), config(*BY_DATE))


def test_a_time_with_one_class_is_refused():
    labels = [int(number >= 70) for number in range(100)]  # every fake is new
    with pytest.raises(
        UserError, match=r"data\.split=date: the train split has 0 fake and 65 real .*data\.split=random"
    ):
        make_split(dated(range(100), labels), config(*BY_DATE))


def test_folds_by_date_are_refused_with_the_way_out():
    with pytest.raises(
        UserError, match=r"data\.folds=5 with data\.split=date: there is one newest part .*data\.folds=null"
    ):
        config("data.split=date", "data.folds=5")


def test_publishers_on_more_than_one_side_are_counted():
    articles = [*balanced(100, sources=5), article(500, 0, source="once only")]
    split = make_split(articles, config())
    assert (split.publishers, split.shared_publishers) == (6, 5)
    by_source = make_split(balanced(100, sources=20), config("data.split=source"))
    assert (by_source.publishers, by_source.shared_publishers) == (20, 0)


def drawn_columns(count, publishers):
    """Draw the columns of `count` articles, half without a publisher; of those one in ten is a near-duplicate."""
    rng = np.random.default_rng(count)
    groups = np.arange(count)
    copies = rng.choice(count // 2, count // 20, replace=False) * 2 + 1
    groups[copies] = (copies // 2) | 1
    number = rng.integers(0, publishers, count)
    return SplitColumns(
        ids=[str(n) for n in range(count)],
        labels=rng.integers(0, 2, count),
        groups=groups,
        sources=[None if n % 2 else f"paper {number[n]}" for n in range(count)],
        dates=[date.fromordinal(730_000 + n % 3000).isoformat() for n in range(count)],
    )


@pytest.mark.parametrize("method", ["random", "date"])
def test_ten_times_the_articles_take_about_ten_times_as_long(method):
    def seconds(columns):
        start = time.process_time()
        splits.make_split(columns, config(f"data.split={method}"))
        return time.process_time() - start

    small, large = drawn_columns(5_000, 500), drawn_columns(50_000, 5000)
    seconds(small)  # imports and caches
    assert seconds(large) < 40 * max(min(seconds(small) for _ in range(3)), 0.005)  # were it quadratic: 100


def test_many_lone_articles_are_dealt_by_the_handful_and_evenly(monkeypatch):
    monkeypatch.setattr(splits, "MAX_GROUPS", 200)  # as if 20,000 were many
    columns = drawn_columns(4000, 50)
    split = splits.make_split(columns, config("data.split=source", "data.val_fraction=0.2"))
    assert [len(side) for side in split.sides().values()] == pytest.approx([2400, 800, 800], abs=60)
    assert sorted(np.concatenate(list(split.sides().values())).tolist()) == list(range(4000))
    for side in split.sides().values():
        assert columns.labels[side].mean() == pytest.approx(columns.labels.mean(), abs=0.02)
    assert split.shared_publishers == 0
    side_of = {row: name for name, side in split.sides().items() for row in side.tolist()}
    for group in np.flatnonzero(np.bincount(columns.groups) > 1):
        assert len({side_of[row] for row in np.flatnonzero(columns.groups == group).tolist()}) == 1


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="needs the real articles, which are not part of the project")
def test_real_articles_by_date_leave_none_newer_than_the_test_articles_behind():
    articles, when = [], []
    for path in sorted((REAL_DATA / "recovery").glob("*/*/news_article.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        seconds = content.get("publish_date")
        day = None if seconds is None else datetime.fromtimestamp(float(seconds), timezone.utc).date()
        when.append(day)
        label = int(path.parts[-3] == "fake")
        articles.append(article(len(articles), label, content["text"], content["source"], day and day.isoformat()))
    split = make_split(articles, config(*BY_DATE))
    newest_trained = max(when[row] for row in split.train)
    assert newest_trained < min(when[row] for row in split.val)
    assert max(when[row] for row in split.val) < min(when[row] for row in split.test)
    assert len(split.test) == pytest.approx(0.2 * len(articles), abs=20)
