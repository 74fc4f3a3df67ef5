"""Calibration against scikit-learn, brute force, and labels drawn from a known truth."""

import json

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, f1_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from safe_exp.scoring.calibration import (
    TEMPERATURE_BOUNDS,
    Calibration,
    Combination,
    best_threshold,
    fit_calibration,
    fit_combination,
    fit_temperature,
)
from safe_exp.scoring.scores import Judgement, ScoredSplit, calibrate, scorer_scores, scorer_thresholds, split_figures
from safe_exp.system.errors import UserError


def drawn(count=400, temperature=1.0, seed=0):
    """Logits, similarities, and labels that are fake with the probability σ(logit / temperature)."""
    generator = np.random.default_rng(seed)
    logit = generator.normal(0.3, 2, count)
    label = (generator.random(count) < expit(logit / temperature)).astype(np.int64)
    return logit, expit(generator.normal(-0.8 * label, 1)), label


def test_the_temperature_is_that_of_a_logistic_regression_without_constant_or_penalty():
    logit, _, label = drawn(temperature=2.5)
    reference = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(logit[:, None], label)
    assert 1 / fit_temperature(logit, label) == pytest.approx(reference.coef_[0, 0], rel=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_temperature_that_the_labels_were_drawn_at_is_found(temperature):
    logit, _, label = drawn(100_000, temperature)
    assert fit_temperature(logit, label) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_of_separable_classes_is_at_its_bound():
    logit = np.array([-3.0, -1.0, 1.0, 2.0])
    assert fit_temperature(logit, np.array([0, 0, 1, 1])) == pytest.approx(TEMPERATURE_BOUNDS[0], rel=1e-3)
    assert fit_temperature(logit, np.array([1, 1, 0, 0])) == pytest.approx(TEMPERATURE_BOUNDS[1], rel=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_no_threshold_gives_a_better_macro_f1(seed):
    generator = np.random.default_rng(seed)
    label = (generator.random(60) < 0.3).astype(int)
    score = np.clip(generator.normal(0.3 + 0.2 * label, 0.15), 0, 1).round(2)  # rounded: with ties
    found = best_threshold(score, label)
    values = np.unique(score)
    candidates = [-0.1, 0.5, *((values[:-1] + values[1:]) / 2), 1.0]
    quality = [f1_score(label, score > cut, average="macro", zero_division=0) for cut in candidates]
    assert f1_score(label, score > found, average="macro", zero_division=0) == pytest.approx(max(quality), abs=1e-12)


def test_of_equally_good_thresholds_the_nearest_to_a_half_is_taken():
    assert best_threshold(np.array([0.1, 0.3, 0.8, 0.9]), np.array([0, 0, 1, 1])) == 0.5
    assert best_threshold(np.array([0.6, 0.7, 0.9]), np.array([0, 0, 1])) == pytest.approx(0.8)


def test_the_combination_is_scikit_learn_s_regression_on_standardised_scores():
    logit, similarity, label = drawn()
    features = np.stack([logit, similarity], axis=1)
    reference = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-12, max_iter=1000)).fit(features, label)
    ours = fit_combination(logit, similarity, label)
    assert ours.score(logit, similarity) == pytest.approx(reference.predict_proba(features)[:, 1], abs=1e-7)
    assert ours.logit > 0 > ours.similarity  # unlike text and image were drawn to be fake more often


def test_a_scorer_with_one_score_for_all_articles_is_left_out_of_the_combination():
    logit, similarity, label = drawn()
    assert fit_combination(logit, np.full_like(similarity, 0.5), label).similarity == pytest.approx(0, abs=1e-9)


def test_nothing_is_fitted_to_one_class_or_to_scores_that_are_not_finite():
    logit, similarity, label = drawn()
    assert fit_calibration(logit, similarity, np.ones_like(label), True) is None
    assert fit_calibration(np.append(logit[1:], np.nan), similarity, label, True) is None


LOSS = {"alpha": 0.6, "beta": 0.4, "similarity_loss": "real_only"}


def scored_split(logit, similarity, label):
    """A scored split of these logits and similarities, (N,) each."""
    logits = torch.tensor(np.stack([logit, np.zeros_like(logit)], axis=1)).float()
    return ScoredSplit(
        torch.arange(len(label)),
        torch.tensor(label),
        logits,
        logits.softmax(dim=1)[:, 0].contiguous(),
        None if similarity is None else torch.tensor(similarity).float(),
    )


def test_figures_after_calibration_are_those_of_the_scaled_probability():
    validation, test = scored_split(*drawn(temperature=3.0)), scored_split(*drawn(seed=1, temperature=3.0))
    calibration = calibrate(validation, combines=True)
    figures = split_figures(test, LOSS, Judgement(calibration))
    label, logit = test.label.numpy(), test.logits.double().numpy()[:, 0]
    scaled = expit(logit / calibration.temperature)
    assert figures["calibrated"]["loss_prediction"] == pytest.approx(log_loss(label, scaled), abs=1e-6)
    assert figures["calibrated"]["brier"] == pytest.approx(brier_score_loss(label, scaled), abs=1e-6)
    assert figures["calibrated"]["loss_prediction"] < figures["loss_prediction"]  # of logits three times too large
    assert figures["articles"] == {
        "fake": label.sum(), "real": (1 - label).sum(), "majority_rate": max(label.mean(), 1 - label.mean())
    }  # fmt: skip


def test_verdicts_are_cut_at_a_half_unless_the_best_is_asked_for_and_the_figures_say_where():
    scored = scored_split(*drawn())
    calibration = calibrate(scored, combines=True)
    plain = split_figures(scored, LOSS, Judgement(calibration))
    best = split_figures(scored, LOSS, Judgement(calibration, "best"))
    assert plain["thresholds"] == dict.fromkeys(("prediction", "similarity", "combined"), 0.5)
    assert best["thresholds"] == calibration.thresholds
    for scorer, cut in calibration.thresholds.items():
        score, label = scorer_scores(scored, calibration)[scorer].numpy(), scored.label.numpy()
        assert best[scorer]["f1_macro"] == pytest.approx(f1_score(label, score > cut, average="macro"), abs=1e-6)
        assert best[scorer]["f1_macro"] >= plain[scorer]["f1_macro"] - 1e-6
        assert best[scorer]["auroc"] == plain[scorer]["auroc"]
    assert scorer_thresholds(["prediction"], Judgement(None, "best")) == {"prediction": 0.5}


def test_variants_with_one_scorer_have_no_combination():
    logit, similarity, label = drawn()
    text_only, similarity_only = scored_split(logit, None, label), scored_split(logit, similarity, label)
    for scored, scorers in ((text_only, ["prediction"]), (similarity_only, ["prediction", "similarity"])):
        calibration = calibrate(scored, combines=False)
        assert list(calibration.thresholds) == scorers
        assert list(scorer_scores(scored, calibration)) == scorers


def test_a_calibration_comes_back_from_its_file_as_it_was_and_a_damaged_one_is_named(tmp_path):
    calibration = Calibration(1.25, {"prediction": 0.4, "combined": 1 / 3}, Combination(0.1, -2.0, 1e-17), 31)
    calibration.save(tmp_path)
    assert Calibration.load(tmp_path) == calibration
    stored = json.loads((tmp_path / "calibration.json").read_text())
    for change in ({"temperature": 0}, {"temperature": "x"}, {"thresholds": {}}, {"combination": {"logit": 1}}):
        (tmp_path / "calibration.json").write_text(json.dumps(stored | change))
        with pytest.raises(UserError, match=r"calibration\.json: the calibration cannot be read"):
            Calibration.load(tmp_path)
    (tmp_path / "calibration.json").write_text("{")
    with pytest.raises(UserError, match="Was the copy complete"):
        Calibration.load(tmp_path)
    (tmp_path / "calibration.json").unlink()
    assert Calibration.load(tmp_path) is None
