"""The numbers of a run's charts, compared with scikit-learn, NumPy and counting by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from safe_exp.scoring.calibration import Calibration
from safe_exp.scoring.charts import POINTS, chart_tables, roc_table

CALIBRATION = Calibration(temperature=2.0, thresholds={"prediction": 0.5}, combination=None, articles=4)


def predictions(label, probability, similarity=None):
    label, probability = np.array(label), np.array(probability)
    verdict = (probability > 0.5).astype(int)
    similarity = None if similarity is None else np.array(similarity)
    return SimpleNamespace(label=label, probability=probability, similarity=similarity, verdict=verdict)


def random_predictions(count, seed=0):
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, count)
    probability = np.clip(random.normal(0.4 + 0.2 * label, 0.2), 0.01, 0.99).astype(np.float32)
    return predictions(label, probability, random.uniform(0.3, 0.7, count).astype(np.float32))


def rows_of(table, name):
    return np.array([row[1:] for row in table.rows if row[0] == name])


def test_curves_are_those_of_scikit_learn():
    found = random_predictions(60)
    tables = chart_tables(found, CALIBRATION)
    for name, scores in (("prediction", found.probability), ("similarity", 1 - found.similarity.astype(float))):
        expected = np.stack(roc_curve(found.label, scores)[:2], axis=1)
        np.testing.assert_array_equal(rows_of(tables["roc"], name), expected)
        precision, recall, _ = precision_recall_curve(found.label, scores)
        drawn = rows_of(tables["precision_recall"], name)[::-1]
        np.testing.assert_array_equal(drawn[:-1], np.stack([recall, precision], axis=1)[:-1])
        assert drawn[-1].tolist() == [0, precision[-2]]  # not scikit-learn's 1


def test_a_long_curve_is_thinned_to_so_many_points_and_keeps_its_ends_and_area():
    found = random_predictions(20_000)
    tables = chart_tables(found, CALIBRATION)
    for name, first, last in (("roc", [0, 0], [1, 1]), ("precision_recall", [0, None], [1, found.label.mean()])):
        points = rows_of(tables[name], "prediction")
        assert len(points) == POINTS
        assert points[0][0] == first[0]
        np.testing.assert_allclose(points[-1], last)
    x, y = rows_of(tables["roc"], "prediction").T
    assert auc(x, y) == pytest.approx(roc_auc_score(found.label, found.probability), abs=1e-3)
    recall, precision = rows_of(tables["precision_recall"], "prediction").T
    expected = average_precision_score(found.label, found.probability)
    assert np.trapezoid(precision, recall) == pytest.approx(expected, abs=2e-3)


def test_the_confusion_matrix_is_counted_with_fake_first():
    tables = chart_tables(predictions([1, 1, 1, 0, 0], [0.9, 0.8, 0.1, 0.7, 0.2]), None)
    assert tables["confusion"].rows == [
        ["fake", "fake", 2],
        ["fake", "real", 1],
        ["real", "fake", 1],
        ["real", "real", 1],
    ]


def test_reliability_is_scikit_learn_s_before_and_after_calibration():
    found = random_predictions(200)
    table = chart_tables(found, CALIBRATION)["reliability"]
    probability = found.probability.astype(float)
    odds = np.sqrt(probability / (1 - probability))  # temperature 2 halves the logit
    for name, values in (("as trained", probability), ("calibrated", odds / (1 + odds))):
        share, mean = calibration_curve(found.label, values, n_bins=10)
        points = rows_of(table, name)
        np.testing.assert_allclose(points[:, 0], mean, rtol=1e-6)
        np.testing.assert_allclose(points[:, 1], share)
        assert points[:, 4].sum() == 200
        assert (points[:, 2] <= points[:, 1]).all()
        assert (points[:, 1] <= points[:, 3]).all()


def test_similarities_are_counted_in_bins_of_one_fortieth():
    similarity = [0.5, 0.51, 0.58, float("nan"), 0.59, 0.51]
    tables = chart_tables(predictions([1, 1, 0, 0, 0, 0], [0.5] * 6, similarity), None)
    assert tables["similarity"].columns == ("class", "similarity", "share of the class (%)", "articles")
    centres = (0.5125, 0.5375, 0.5625, 0.5875)
    shares_and_counts = {
        "fake": [(100, 2), (0, 0), (0, 0), (0, 0)],
        "real": [(100 / 3, 1), (0, 0), (0, 0), (200 / 3, 2)],
    }
    by_hand = [
        [name, centre, *pair]
        for name, pairs in shares_and_counts.items()
        for centre, pair in zip(centres, pairs, strict=True)
    ]
    for row, expected in zip(tables["similarity"].rows, by_hand, strict=True):
        assert row[0] == expected[0]
        assert row[1:] == pytest.approx(expected[1:])
    assert {row[0] for row in tables["roc"].rows} == {"prediction"}  # NaN cannot be ranked


def test_what_is_undefined_is_left_out():
    one_class = chart_tables(predictions([0, 0], [0.2, 0.6], [float("nan")] * 2), None)
    assert set(one_class) == {"confusion"}
    assert set(chart_tables(predictions([0, 1], [0.2, 0.6]), None)) == {"confusion", "roc", "precision_recall"}
    assert chart_tables(predictions(np.array([], int), np.array([])), None)["confusion"].rows[0] == ["fake", "fake", 0]


def test_tables_hold_plain_values():
    tables = chart_tables(random_predictions(50), CALIBRATION)
    assert set(tables) == {"confusion", "roc", "precision_recall", "reliability", "similarity"}
    assert {type(value) for table in tables.values() for row in table.rows for value in row} <= {str, int, float}


def test_a_curve_of_equal_scores_is_the_diagonal():
    assert roc_table(np.array([0, 1]), {"prediction": np.array([0.5, 0.5])}).rows == [
        ["prediction", 0, 0],
        ["prediction", 1, 1],
    ]
