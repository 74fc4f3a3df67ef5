"""Sides as published: taken as they are, with near-duplicates across them counted or dropped, by hand-made columns."""

import numpy as np
import pytest

from safe_exp.data.splitting.leakage import leakage_warning
from safe_exp.data.splitting.splits import SplitColumns, make_split
from safe_exp.system.errors import UserError
from tests.data.folders import folder_config


def columns(sides, labels=None, groups=None, sources=None):
    count = len(sides)
    labels = np.arange(count) % 2 if labels is None else np.array(labels)
    groups = np.arange(count) if groups is None else np.array(groups)
    return SplitColumns(list(map(str, range(count))), labels, groups, sources or [None] * count, [None] * count, sides)


def given(articles, *overrides):
    return make_split(articles, folder_config("unused", "data.split=given", *overrides))


def rows(split):
    return {name: side.tolist() for name, side in split.sides().items()}


def test_articles_stand_where_they_are_given_and_those_without_a_side_on_none():
    split = given(columns(["test", "test", "train", "val", None, "train", "val"], labels=[0, 1, 0, 1, 1, 1, 0]))
    assert rows(split) == {"train": [2, 5], "val": [3, 6], "test": [0, 1]}
    assert {reason: left.tolist() for reason, left in split.unplaced.items()} == {"no side is given": [4]}
    assert split.leaks == {"train_test": 0, "train_val": 0, "val_test": 0}
    assert not split.val_drawn


def test_without_a_val_side_one_is_drawn_from_train_by_its_share_of_train_balanced_and_with_groups_whole():
    # 100 articles to train on, of which 20 are copies in 10 pairs, and 50 for the test.
    groups = [number // 2 if number < 20 else number for number in range(150)]
    labels = [int(number // 2 % 2) for number in range(150)]
    split = given(columns(["train"] * 100 + ["test"] * 50, labels, groups), "data.val_fraction=0.2")
    assert split.val_drawn
    assert split.test.tolist() == list(range(100, 150))
    assert sorted([*split.train, *split.val]) == list(range(100))
    assert len(split.val) == pytest.approx(20, abs=2)
    assert np.array(labels)[split.val].mean() == pytest.approx(0.5, abs=0.1)
    assert not {groups[row] for row in split.train} & {groups[row] for row in split.val}
    again = given(columns(["train"] * 100 + ["test"] * 50, labels, groups), "data.val_fraction=0.2", "data.seed=1")
    assert again.val.tolist() != split.val.tolist()
    assert again.test.tolist() == split.test.tolist()


# Rows 0-5 train, 6-9 val, 10-13 test. Row 0 copies 10; 1 and 2 copy each other and 6; 7 copies 11; 12 copies 13.
SIDES = ["train"] * 6 + ["val"] * 4 + ["test"] * 4
GROUPS = [0, 1, 1, 3, 4, 5, 1, 7, 8, 9, 0, 7, 12, 12]


def test_near_duplicates_across_sides_are_counted_and_stay():
    split = given(columns(SIDES, groups=GROUPS))
    assert rows(split) == {"train": [*range(6)], "val": [*range(6, 10)], "test": [*range(10, 14)]}
    assert split.leaks == {"train_test": 1, "train_val": 2, "val_test": 1}
    assert not split.unplaced


def test_dropped_leaks_leave_train_and_val_and_never_the_test():
    split = given(columns(SIDES, groups=GROUPS), "data.drop_leaks=true")
    assert rows(split) == {"train": [3, 4, 5], "val": [6, 8, 9], "test": [10, 11, 12, 13]}
    assert {reason: left.tolist() for reason, left in split.unplaced.items()} == {
        "training article nearly copies a test article": [0],
        "training article nearly copies a validation article": [1, 2],
        "validation article nearly copies a test article": [7],
    }
    assert split.leaks == {"train_test": 1, "train_val": 2, "val_test": 1}


def test_leaks_are_dropped_before_a_val_side_is_drawn():
    sides = ["train"] * 60 + ["test"] * 20
    groups = [*range(60), *range(10), *range(70, 80)]  # ten training articles copy a test article
    kept, dropped = given(columns(sides, groups=groups)), given(columns(sides, groups=groups), "data.drop_leaks=true")
    assert kept.leaks["train_test"] + kept.leaks["val_test"] == 10
    assert sorted([*dropped.train, *dropped.val]) == list(range(10, 60))
    assert dropped.leaks == {"train_test": 10, "train_val": 0, "val_test": 0}


@pytest.mark.parametrize(
    ("articles", "overrides", "message"),
    [
        (columns([None] * 8), (), r"none of the 8 articles says on which side.*data\.columns\.split=subset.*test_root"),
        (columns(["train"] * 6 + ["val"] * 2), (), r"no usable article is for the test \(train 6, val 2, test 0\)"),
        (columns(["val"] * 2 + ["test"] * 2), (), r"no usable article is for training \(train 0, val 2, test 2\)"),
        (
            columns(["train", "train", "val", "test", "test"], labels=[0, 1, 1, 0, 1]),
            (),
            r"data\.split=given: the val split has 1 fake and 0 real articles; each split needs both\. Given sides",
        ),
        (columns(["train"] * 8 + ["test"] * 2), ("data.val_root=x",), "the val split has 0 fake and 0 real articles"),
        (
            columns(["train"] * 4 + ["test"] * 4, groups=[*range(4), *range(4)]),
            ("data.drop_leaks=true", "data.val_root=x"),
            r"On no side: 4 × training article nearly copies a test article\.",
        ),
        (
            columns(["train"] * 8 + ["test"] * 2),
            (),
            r"data\.val_fraction: 7 parts with both classes in each need at least 7 articles.*there are 4.*Given sides",
        ),
    ],
)
def test_sides_that_cannot_be_used_are_refused(articles, overrides, message):
    with pytest.raises(UserError, match=message):
        given(articles, *overrides)


def test_the_warning_of_publishers_says_that_the_sides_are_given():
    sources = [f"paper {number % 2}" for number in range(400)]
    articles = columns(["train"] * 200 + ["val"] * 100 + ["test"] * 100, sources=sources)
    config = folder_config("unused", "data.split=given")
    said = leakage_warning(articles, make_split(articles, config), config)
    assert "reaches 100.0%" in said
    assert "The sides are as given. To measure what is left for other publishers: data.split=source, without" in said
