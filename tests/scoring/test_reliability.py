"""Reliability against numbers worked out by hand and Wilson's intervals as printed in tables."""

import numpy as np
import pytest

from safe_exp.scoring.reliability import BINS, reliability


def test_each_bin_has_the_mean_of_its_probabilities_and_its_share_of_fakes():
    probability = np.array([0.02, 0.04, 0.31, 0.35, 0.39, 0.38, 0.95])
    found = reliability(np.array([0, 0, 1, 0, 0, 1, 1]), probability)
    assert found.mean == pytest.approx([0.03, 0.3575, 0.95])
    assert found.share == pytest.approx([0, 0.5, 1])
    assert found.counts.tolist() == [2, 0, 0, 4, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("fakes", "articles", "low", "high"),
    [(0, 10, 0, 0.2775), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662), (10, 10, 0.7225, 1)],
)  # 81 of 263: Newcombe 1998, Table I, method 3
def test_the_interval_of_a_share_is_wilson_s(fakes, articles, low, high):
    label = (np.arange(articles) < fakes).astype(int)
    found = reliability(label, np.full(articles, 0.25))
    assert (*found.low, *found.high) == pytest.approx((low, high), abs=5e-5)


def test_probabilities_of_zero_and_one_are_in_the_outer_bins_and_an_edge_is_in_the_lower_one():
    found = reliability(np.array([1, 0, 1]), np.array([1.0, 0.0, 0.5]))
    assert found.counts.nonzero()[0].tolist() == [0, 4, BINS - 1]
    assert found.share.tolist() == [0, 1, 1]


@pytest.mark.parametrize("only", [0, 1])
def test_articles_of_one_class_have_shares_too(only):
    assert reliability(np.full(3, only), np.array([0.2, 0.6, 0.75])).share.tolist() == [only] * 3
