import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from safe_exp.scoring.curves import (
    area_under,
    average_precision,
    drop_straight_points,
    precision_recall_points,
    roc_points,
)


@st.composite
def scored(draw):
    """Labels of both classes, and scores of which many are equal."""
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), max_size=30))]
    scores = draw(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=len(labels), max_size=len(labels)))
    return np.array(labels), np.array(scores)


@given(scored())
def test_curves_and_areas_are_those_of_scikit_learn(made):
    label, scores = made
    x, y = roc_points(label, scores)
    np.testing.assert_allclose([x, y], metrics.roc_curve(label, scores, drop_intermediate=False)[:2])
    assert area_under(x, y) == pytest.approx(metrics.roc_auc_score(label, scores))
    np.testing.assert_allclose(drop_straight_points(x, y), metrics.roc_curve(label, scores)[:2])
    recall, precision = precision_recall_points(label, scores)
    theirs = metrics.precision_recall_curve(label, scores)
    np.testing.assert_allclose(recall, theirs[1][::-1])
    np.testing.assert_allclose(precision[1:], theirs[0][::-1][1:])
    assert precision[0] == precision[1]
    assert average_precision(recall, precision) == pytest.approx(metrics.average_precision_score(label, scores))
