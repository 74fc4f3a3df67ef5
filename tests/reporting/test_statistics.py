"""Intervals and tests against scipy, and against numbers worked out by hand."""

import math

import numpy as np
import pytest
import scipy.stats

from safe_exp.reporting.statistics import RESAMPLES, Comparison, compare, holm, summarise


@pytest.mark.parametrize("count", [3, 5, 20])
def test_the_bootstrap_interval_equals_scipy_s(count):
    values = np.random.default_rng(count).normal(0.8, 0.05, count)
    summary = summarise(values.tolist())
    reference = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=100_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    error = 4 * values.std() / math.sqrt(RESAMPLES)  # of a quantile that is estimated from so many draws
    assert summary.low == pytest.approx(reference.low, abs=error)
    assert summary.high == pytest.approx(reference.high, abs=error)


def test_mean_and_standard_deviation_by_hand():
    summary = summarise([1.0, 2.0, 3.0, 6.0])
    assert summary.mean == 3
    assert summary.sd == pytest.approx(math.sqrt((4 + 1 + 0 + 9) / 3))
    assert summarise([1.0, 2.0, 3.0, 6.0]) == summary  # the same draws each time


def test_fewer_than_three_values_have_no_interval():
    assert summarise([]) == summarise(())
    assert (summarise([]).n, summarise([]).mean) == (0, None)
    assert (summarise([0.5]).mean, summarise([0.5]).sd, summarise([0.5]).low) == (0.5, None, None)
    two = summarise([0.4, 0.6])
    assert two.sd == pytest.approx(math.sqrt(0.02))
    assert (two.low, two.high) == (None, None)


def test_intervals_overlap_or_not_or_it_is_unknown():
    low, high, wide = summarise([0.1, 0.2, 0.3]), summarise([0.7, 0.8, 0.9]), summarise([0.0, 0.5, 1.0])
    assert low.overlaps(high) is False
    assert wide.overlaps(high) is True
    assert low.overlaps(summarise([0.1])) is None


def test_the_paired_test_equals_scipy_s_if_replicates_share_no_training_articles():
    ours = dict(enumerate([0.81, 0.84, 0.79, 0.86, 0.80]))
    reference = dict(enumerate([0.80, 0.80, 0.80, 0.81, 0.78]))
    expected = scipy.stats.ttest_rel(list(ours.values()), list(reference.values()))
    found = compare(ours, reference)
    assert found.pairs == 5
    assert found.difference == pytest.approx(0.022)
    assert found.t == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)


def test_shared_training_articles_widen_the_variance_as_in_nadeau_and_bengio():
    # Differences 1, 2, 3: mean 2, variance 1. With test:train = 1:4, t = 2 / sqrt(1/3 + 1/4) = 2 / sqrt(7/12).
    found = compare({0: 1.0, 1: 2.0, 2: 3.0}, {0: 0.0, 1: 0.0, 2: 0.0}, overlap=0.25)
    assert found.t == pytest.approx(2 / math.sqrt(7 / 12))
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(2 / math.sqrt(7 / 12), df=2))


def test_only_replicates_that_both_have_are_compared():
    assert compare({0: 1.0, 1: 2.0}, {1: 1.0, 2: 9.0}) == Comparison(pairs=1, difference=1.0)
    assert compare({0: 1.0}, {1: 1.0}) == Comparison(pairs=0)


def test_equal_differences_leave_nothing_to_test():
    same = dict.fromkeys(range(4), 0.5)
    assert compare(same, same).p == 1
    assert compare(dict.fromkeys(range(4), 0.6), same).p is None


def test_holm_by_hand():
    # Sorted: 0.01 × 4, 0.02 × 3, 0.03 × 2 = 0.06 (not below 0.06), 0.5 × 1.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.04, 0.03]) == pytest.approx([0.06, 0.06])  # 0.04 × 1 may not fall below 0.06
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([None, 0.02, None, 0.5]) == [None, 0.04, None, 0.5]
    assert holm([]) == []
