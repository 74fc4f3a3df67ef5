"""The calibration of an ensemble against scikit-learn and numbers worked out by hand."""

import json

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from safe_exp.runs.job_outcome import Job
from safe_exp.runs.out_of_fold import calibrate_jobs
from safe_exp.scoring.calibration import FOLDS, VALIDATION, best_threshold
from tests.made_jobs import write_predictions


def jobs(folder, *written):
    """Write the predictions and the sides of jobs from (split, predictions) pairs."""
    found = []
    for number, (split, rows) in enumerate(written):
        (folder / str(number) / "artifacts").mkdir(parents=True)
        manifest = {"prepared": {"fingerprint": "f"}, "split": {"train": [], "val": [], "test": [], **split}}
        (folder / str(number) / "artifacts" / "data_manifest.json").write_text(json.dumps(manifest))
        write_predictions(folder / str(number), rows)
        found.append(Job(number, folder / str(number), "finished", None, {}, {}))
    return found


def draw_fold(rng, names, seeds):
    """Draw the predictions of a fold's articles by several seeds."""
    label = {name: int(rng.random() < 0.5) for name in names}
    label |= {names[0]: 0, names[1]: 1}
    return [
        [(name, "test", label[name], round(float(expit(2 * label[name] - 1 + rng.normal())), 6), round(rng.random(), 6))
         for name in names]
        for _ in range(seeds)
    ]  # fmt: skip


def by_hand(folds):
    """Average over the seeds of each fold."""
    logits, similarities, labels = [], [], []
    for seeds in folds:
        for rows in zip(*seeds, strict=True):
            logits.append(np.mean([logit(row[3]) for row in rows]))
            similarities.append(np.mean([row[4] for row in rows]))
            labels.append(rows[0][2])
    return np.array(logits), np.array(similarities), np.array(labels)


def test_folds_are_calibrated_on_their_mean_out_of_fold_logits_as_scikit_learn_would(tmp_path):
    rng = np.random.default_rng(0)
    names = [[f"{fold}{n}" for n in range(40)] for fold in "xyz"]
    folds = [draw_fold(rng, each, seeds=2) for each in names]
    written = [({"test": each}, rows) for each, seeds in zip(names, folds, strict=True) for rows in seeds]
    found = calibrate_jobs(jobs(tmp_path, *written), combines=True)
    logits, similarities, labels = by_hand(folds)
    assert (found.fitted_on, found.calibration.articles) == (FOLDS, 120)
    # One weight, no constant and no penalty: σ(w · logit), so T = 1 / w.
    slope = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(logits[:, None], labels).coef_[0, 0]
    assert found.calibration.temperature == pytest.approx(1 / slope, rel=1e-4)
    assert found.calibration.thresholds["prediction"] == pytest.approx(best_threshold(expit(logits), labels), abs=1e-12)
    scaled = StandardScaler().fit_transform(np.stack([logits, similarities], axis=1))
    expected = LogisticRegression(tol=1e-10).fit(scaled, labels).predict_proba(scaled)[:, 1]
    np.testing.assert_allclose(found.calibration.combination.score(logits, similarities), expected, atol=1e-5)


def test_an_article_is_calibrated_by_the_jobs_alone_that_held_it_out(tmp_path):
    held_out = [
        [("a", "test", 1, 0.6, 0.5), ("b", "test", 0, 0.7, 0.5)],
        [("c", "test", 1, 0.8, 0.5), ("d", "test", 0, 0.1, 0.5)],
    ]
    trained_on = ("c", "test", 1, 0.999999, 0.5)  # job 0 scored c, too, and was trained on it
    splits = [{"test": ["a", "b"]}, {"test": ["c", "d"]}]
    honest = calibrate_jobs(jobs(tmp_path / "1", *zip(splits, held_out, strict=True)), combines=False)
    found = calibrate_jobs(
        jobs(tmp_path / "2", (splits[0], [*held_out[0], trained_on]), (splits[1], held_out[1])), False
    )
    assert found.calibration.articles == 4
    assert found == honest


def test_a_probability_that_six_digits_give_as_1_has_a_finite_logit(tmp_path):
    written = [
        ({"test": [a, b]}, [(a, "test", 1, 1, 0.5), (b, "test", 0, low, 0.5)])
        for a, b, low in (("a", "b", 0), ("c", "d", 0.5))
    ]
    found = calibrate_jobs(jobs(tmp_path, *written), combines=True)
    assert np.isfinite(found.calibration.temperature)


def test_jobs_of_one_split_are_calibrated_on_their_mean_validation_logits(tmp_path):
    split = {"val": ["a", "b", "c"], "test": ["d"]}
    seeds = [
        [("a", "val", 1, p, 0.5), ("b", "val", 0, 0.4, 0.5), ("c", "val", 0, 0.6, 0.5), ("d", "test", 1, 0.9, 0.5)]
        for p in (0.8, 0.9)
    ]
    found = calibrate_jobs(jobs(tmp_path, *((split, rows) for rows in seeds)), combines=False)
    assert (found.fitted_on, found.calibration.articles) == (VALIDATION, 3)
    logits = np.array([np.mean(logit([0.8, 0.9])), logit(0.4), logit(0.6)])
    slope = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(logits[:, None], [1, 0, 0]).coef_[0, 0]
    assert found.calibration.temperature == pytest.approx(1 / slope, rel=1e-4)


ONE_CLASS = [("a", "test", 1, 0.5, 0.5), ("c", "test", 1, 0.6, 0.5)]


@pytest.mark.parametrize(
    ("splits", "rows", "reason"),
    [
        (({"test": ["a", "b"]}, {"test": ["b", "c"]}), None, "neither the folds of one cross-validation nor trained"),
        (({"val": ["a"], "test": ["d"]}, {"val": ["b"], "test": ["d"]}), None, "neither the folds"),
        (({"test": ["a"]}, {"test": ["c"]}), [], "job 0 has no predictions.csv that can be read"),
        (({"test": ["a"]}, {"test": ["c"]}), ONE_CLASS, "the articles of its out-of-fold predictions are of one class"),
    ],
)
def test_jobs_without_articles_to_calibrate_on_are_not_calibrated_and_say_why(splits, rows, reason, tmp_path):
    rows = [(name, "test", n % 2, 0.4, 0.5) for n, name in enumerate("abc")] if rows is None else rows
    found = calibrate_jobs(jobs(tmp_path, *((split, rows) for split in splits)), combines=True)
    assert found.calibration is None
    assert reason in found.reason


def test_folds_of_articles_that_changed_in_between_are_not_calibrated(tmp_path):
    rows = [(name, "test", n % 2, 0.4, 0.5) for n, name in enumerate("abcd")]
    one, other = jobs(tmp_path, ({"test": ["a", "b"]}, rows), ({"test": ["c", "d"]}, rows))
    assert calibrate_jobs([one, other], combines=True).calibration is not None
    other.manifest["prepared"]["fingerprint"] = "another"
    assert "neither the folds" in calibrate_jobs([one, other], combines=True).reason
