"""What repeats over many stories, and the test of whether it follows the class."""

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from safe_exp.data.prepared import prepare
from safe_exp.data.splitting.leakage import repeats_warning
from safe_exp.data.splitting.repeated import (
    CHANCE,
    Carried,
    describe_item,
    find_giveaway,
    find_repeats,
    merge_carried,
    number_pictures,
    opening,
)
from tests.data.folders import PREPARED, REAL_DATA
from tests.made import compose_config


def carry(*sizes):
    """Let the first articles carry item 0, the next ones item 1, and so on."""
    return Carried(np.arange(sum(sizes)), np.repeat(np.arange(len(sizes)), sizes))


def repeats(labels, stories, openings=None, pictures=None):
    count = len(labels)
    ids = [f"a{n}" for n in range(count)]
    openings = openings or [f"text {n}" for n in range(count)]
    return find_repeats(ids, np.array(labels), np.array(stories), openings, pictures or [[]] * count)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Log in, to CONTINUE… reading this page today", "log in to continue reading this"),
        ("404 Not Found", "404 not found"),
        ("", ""),
        ("!!! ???", ""),
        ("今日头条新闻记者报道今天下午", "今日 头条 新闻 记者 报道 今天"),  # twelve characters
        ("กรุงเทพมหานคร", "กรุง เทพม หานค ร"),
    ],
)
def test_an_opening_is_the_first_words_without_case_and_punctuation(text, first):
    assert opening(text) == first


def test_an_opening_counts_from_three_different_stories_on():
    openings = ["log in"] * 4 + ["send this"] * 4 + ["agency story"] * 5 + [""] * 4
    stories = [0, 1, 2, 2, 3, 4, 4, 3, 5, 5, 5, 5, 5, 6, 7, 8, 9]
    found = repeats([1, 1, 1, 0] + [1] * 4 + [0] * 5 + [1] * 4, stories, openings)
    (item,) = found.items["openings"]
    assert item == {
        "articles": 4, "stories": 3, "fake": 3, "words": "log in", "examples": ["a0", "a1", "a2", "a3"],
    }  # fmt: skip
    assert found.openings.article.tolist() == [0, 1, 2, 3]
    assert describe_item("openings", item) == (
        "the opening 'log in' begins 4 articles of 3 stories, 3 of them fake: a0, a1, a2, a3"
    )
    (copied,) = found.items["texts"]  # one story, five times: it is named, and it is no opening that repeats
    assert (copied["articles"], copied["stories"], copied["words"]) == (5, 1, "agency story")


def test_a_picture_is_the_same_when_it_was_stored_again_and_an_article_may_have_several():
    logo, other = 0x0F0F_1234_5678_9ABC, 0xFFFF_0000_FFFF_0000
    pictures = [[logo], [other, logo], [logo ^ 0b101], [other], [], [other ^ (0xFF << 20)]]
    found = repeats([1, 1, 1, 0, 0, 0], range(6), pictures=pictures)
    assert found.pictures.article.tolist() == [0, 1, 2]
    assert describe_item("pictures", *found.items["pictures"]) == (
        "one picture stands under 3 articles, all fake: a0, a1, a2"
    )


def test_a_chain_of_neighbours_is_not_one_picture():
    value, chain = 0, []
    for bit in range(48):  # each differs from the last one by one bit, and the ends by 48
        value ^= 1 << bit
        chain.append([value])
    assert np.bincount(number_pictures(chain).item).max() <= 9  # four bits to each side of a centre


def test_a_logo_under_one_class_is_found_among_many_balanced_repeats():
    labels = np.array([1] * 14 + [n % 2 for n in range(400)])
    found = find_giveaway(carry(14, *[8] * 50), labels, np.arange(414))
    assert found.items == [0]


def test_many_small_repeats_of_one_class_each_are_found_together():
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0] * 5 + [n % 2 for n in range(100)])
    found = find_giveaway(carry(*[4] * 10), labels, np.arange(140))
    assert (found.articles, found.accuracy) == (40, 1.0)
    assert found.commoner == 0.5


def test_a_single_repeat_is_judged_as_the_exact_binomial_test_does():
    for count in range(2, 30):
        labels = np.array([1] * count + [0] * (200 - count) + [1] * (200 - count) + [0] * count)  # half are fake
        said = find_giveaway(carry(count), labels, np.arange(400)) is not None
        assert said == (binomtest(count, count, 0.5).pvalue <= CHANCE), count


@pytest.mark.parametrize("share", [0.5, 0.28])
def test_repeats_without_regard_to_the_class_raise_a_false_alarm_in_a_few_of_a_thousand_sets(share):
    rng = np.random.default_rng(0)
    carried = carry(*[3] * 30, *[5] * 10, 8, 14, 40)
    both = merge_carried([carried, carried])  # each article carries a logo and an opening of its site
    alarms = sum(
        find_giveaway(both, (rng.random(400) < share).astype(int), np.arange(400)) is not None for _ in range(1000)
    )
    assert alarms <= 7  # 0.4 % at most: seven and more come once in a hundred times


def test_what_one_group_alone_carries_tells_nothing_of_other_articles():
    labels, groups = np.array([1] * 20 + [n % 2 for n in range(80)]), np.arange(100)
    assert find_giveaway(carry(20), labels, groups) is not None
    groups[:20] = 0
    assert find_giveaway(carry(20), labels, groups) is None


def test_nothing_that_repeats_is_no_cause_for_a_warning():
    empty = merge_carried([])
    assert find_giveaway(empty, np.array([0, 1]), np.arange(2)) is None
    found = repeats([1, 0], [0, 1])
    assert found.items == {"pictures": [], "openings": [], "texts": []}


@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="needs the real articles, which are not part of the project")
def test_real_articles_that_were_cleaned_are_not_warned_of_and_a_site_s_buttons_are():
    config = compose_config("data=fakenewsnet", f"data.root={REAL_DATA / 'politifact_images'}")
    prepared = prepare(replace(config.data, prepared=PREPARED, workers=1), config.captioner)
    assert len(prepared.repeats.items["openings"]) == 2
    carried, described = prepared.repeats.carried(["text", "visual"])
    assert repeats_warning(carried, described, prepared.labels, prepared.groups) is None
    config = compose_config("data=table", f"data.root={REAL_DATA / 'gossipcop' / 'gossipcop.parquet'}")
    prepared = prepare(replace(config.data, prepared=PREPARED, workers=1), config.captioner)
    carried, described = prepared.repeats.carried(["text", "visual"])
    said = repeats_warning(carried, described, prepared.labels, prepared.groups)
    assert "begins 86 articles of 82 stories, 81 of them fake" in said


@pytest.mark.slow
def test_two_hundred_thousand_articles_take_seconds():
    rng = np.random.default_rng(0)
    count = 200_000
    openings = [f"opening {n}" for n in rng.zipf(1.5, count)]
    pictures = [[n] for n in rng.integers(0, 2**63, count).tolist()]
    labels = rng.integers(0, 2, count)
    start = time.perf_counter()
    found = find_repeats([str(n) for n in range(count)], labels, np.arange(count), openings, pictures)
    find_giveaway(merge_carried([found.pictures, found.openings]), labels, np.arange(count))
    assert time.perf_counter() - start < 20
