"""The figures of all runs at once, against those of torchmetrics and of scikit-learn for one run after the other."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from safe_exp.scoring.results import logged_figures
from safe_exp.scoring.scores import split_figures
from safe_exp.sweep.stacked.scores import ScoredRuns

RUNS, ARTICLES = 5, 60


def draw_scores(labels: list[int], compares: bool) -> ScoredRuns:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(RUNS, ARTICLES, 2, generator=generator).round(decimals=1)  # with ties
    similarity = torch.rand(RUNS, ARTICLES, generator=generator).round(decimals=1) if compares else None
    probability = logits.softmax(dim=2)[..., 0]
    probability[3] = 0.5  # all alike
    probability[4, 7] = torch.nan  # as of weights that are not finite
    return ScoredRuns(torch.arange(ARTICLES), torch.tensor(labels), logits, probability, similarity)


@pytest.mark.parametrize("labels", [[0, 1, 0] * 20, [1] * 60, [0] * 60])
@pytest.mark.parametrize(
    ("compares", "similarity_loss"), [(True, "real_only"), (True, "both_classes"), (False, "real_only")]
)
def test_the_figures_of_each_run_are_those_of_torchmetrics(labels, compares, similarity_loss):
    scored = draw_scores(labels, compares)
    alpha, beta = torch.linspace(0, 1, RUNS), torch.linspace(2, 0.1, RUNS)
    ours = scored.logged("val", alpha, beta, similarity_loss)
    for run in range(RUNS):
        loss = {"alpha": alpha[run].item(), "beta": beta[run].item(), "similarity_loss": similarity_loss}
        alone = scored.of_run(run)
        theirs = logged_figures("val", split_figures(alone, loss), alone)
        assert list(ours[run]) == list(theirs)
        assert ours[run] == pytest.approx(theirs, rel=1e-6, abs=1e-7, nan_ok=True)
    assert math.isnan(ours[4]["val/auroc"])
    assert math.isnan(ours[4]["val/accuracy"])


def test_the_figures_of_each_run_are_those_of_scikit_learn():
    labels = [0, 1, 0] * 20
    scored = draw_scores(labels, compares=True)
    ours = scored.logged("val", torch.ones(RUNS), torch.ones(RUNS), "real_only")
    for run, figures in enumerate(ours):
        score = 1 - scored.similarity[run].numpy()
        assert figures["val/similarity_accuracy"] == accuracy_score(labels, score > 0.5)
        assert figures["val/similarity_f1"] == pytest.approx(f1_score(labels, score > 0.5), rel=1e-15)
        assert figures["val/similarity_auroc"] == pytest.approx(roc_auc_score(labels, score), rel=1e-14)
        average = average_precision_score(labels, score)
        assert figures["val/similarity_average_precision"] == pytest.approx(average, rel=1e-14)
        assert figures["val/similarity_brier"] == pytest.approx(np.mean((score - np.array(labels)) ** 2), rel=1e-6)
