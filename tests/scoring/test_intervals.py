"""Bootstrap intervals against the figures of the very articles drawn, scipy, and the binomial distribution."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from safe_exp.scoring import intervals
from safe_exp.scoring.calibration import fit_calibration
from safe_exp.scoring.intervals import ScorerFigures, bootstrap_intervals, resamples, split_intervals
from safe_exp.scoring.scores import FIGURES, Judgement, scorer_figures, split_figures
from tests.scoring.test_calibration import LOSS, scored_split
from tests.scoring.test_calibration import drawn as drawn_scores


def drawn(count=120, seed=0):
    """Scores with ties, and labels that they predict a little."""
    generator = np.random.default_rng(seed)
    label = (generator.random(count) < 0.4).astype(np.int64)
    score = np.clip(generator.normal(0.35 + 0.3 * label, 0.2), 0, 1).round(2).astype(np.float32)  # rounded: with ties
    return score, label


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_each_figure_of_a_resample_is_that_of_its_articles_taken_as_often_as_they_were_drawn(threshold):
    for seed, count in ((0, 120), (1, 6), (2, 1)):  # so few that resamples lack a class, or a verdict
        score, label = drawn(count, seed)
        counts = next(resamples(count))[:25]
        ours = ScorerFigures(score, label, threshold).compute(counts)
        assert set(ours) == set(FIGURES)
        for row, often in enumerate(counts):
            taken = np.repeat(np.arange(count), often.astype(int))
            reference = scorer_figures(torch.tensor(score[taken]), torch.tensor(label[taken]), threshold)
            found = {name: float(values[row]) for name, values in ours.items()}
            assert found == pytest.approx(reference, abs=2e-6, nan_ok=True)


def test_the_interval_of_the_auroc_is_scipy_s():
    score, label = drawn(100)
    ours = bootstrap_intervals({"prediction": (score, 0.5)}, {}, label)["prediction"]["auroc"]
    reference = stats.bootstrap(
        (label, score), lambda y, s: roc_auc_score(y, s), paired=True, vectorized=False, method="percentile",
        n_resamples=800, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert ours == pytest.approx((reference.low, reference.high), abs=0.02)


def test_the_interval_of_the_accuracy_is_that_of_the_binomial_distribution():
    score, label = drawn(400)
    right = ((score > 0.5) == label).mean()
    half = 1.96 * math.sqrt(right * (1 - right) / 400)
    low, high = bootstrap_intervals({"prediction": (score, 0.5)}, {}, label)["prediction"]["accuracy"]
    assert (low, high) == pytest.approx((right - half, right + half), abs=0.006)


def test_the_interval_of_the_calibration_error_is_where_other_test_articles_would_put_it():
    """Test splits drawn from a known truth, scores too sure by half: their errors against the intervals of a few."""

    def error_of_another_split(seed):
        logit, _, label = drawn_scores(160, temperature=1.6, seed=seed)
        score = expit(logit).astype(np.float32)
        return score, label, ScorerFigures(score, label, 0.5).compute(np.ones((1, 160)))["ece"][0]

    low, high = np.quantile([error_of_another_split(seed)[2] for seed in range(500)], [0.025, 0.975])
    found = []
    for seed in range(1000, 1020):
        score, label, _ = error_of_another_split(seed)
        found.append(bootstrap_intervals({"p": (score, 0.5)}, {}, label)["p"]["ece"])
    assert np.mean(found, axis=0) == pytest.approx((low, high), abs=0.015)


def test_the_same_articles_have_the_same_intervals_however_many_resamples_are_held_at_a_time(monkeypatch):
    score, label = drawn()
    whole = bootstrap_intervals({"prediction": (score, 0.5)}, {"loss": score}, label)
    monkeypatch.setattr(intervals, "CHUNK_NUMBERS", 7 * 120)
    assert bootstrap_intervals({"prediction": (score, 0.5)}, {"loss": score}, label) == whole


def test_every_test_figure_has_an_interval_that_holds_it():
    logit, similarity, label = drawn_scores(150)
    calibration = fit_calibration(logit, similarity, label, combines=True)
    scored = scored_split(logit, similarity, label)
    figures = split_figures(scored, LOSS, Judgement(calibration))
    found = split_intervals(scored, LOSS, Judgement(calibration))
    assert (found["level"], found["resamples"]) == (0.95, 1000)
    for name in ("loss", "loss_prediction", "loss_similarity"):
        assert found[name][0] < figures[name] < found[name][1]
    for scorer in ("prediction", "similarity", "combined"):
        assert set(found[scorer]) == set(FIGURES)
        for name, (low, high) in found[scorer].items():
            assert low < figures[scorer][name] < high
    assert set(found["calibrated"]) == {"brier", "ece"}


def test_one_class_leaves_the_ranking_without_an_interval_and_scores_that_are_not_finite_every_figure():
    score = np.array([0.2, 0.7, 0.4], np.float32)
    found = bootstrap_intervals({"prediction": (score, 0.5)}, {}, np.array([1, 1, 1]))["prediction"]
    assert found["auroc"] is None
    assert found["average_precision"] is None
    assert found["accuracy"] == (0.0, 1.0)
    assert bootstrap_intervals({"p": (np.full(3, np.nan), 0.5)}, {}, np.array([0, 1, 1]))["p"] == {}
