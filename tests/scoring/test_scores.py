"""Every figure against scikit-learn or a number worked out by hand; fake is the positive class."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from safe_exp.equations import SafeOutput
from safe_exp.scoring.scores import FIGURES, SplitScores, scorer_figures, split_figures
from tests.made import draw_batch


def drawn(count=200, seed=0):
    """Scores with ties, and labels that they predict a little."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 2, count)
    score = np.clip(generator.normal(0.35 + 0.3 * label, 0.2), 0, 1).round(2).astype(np.float32)  # rounded: with ties
    return score, label


def test_figures_agree_with_scikit_learn():
    score, label = drawn()
    verdict = (score > 0.5).astype(int)
    ours = scorer_figures(torch.tensor(score), torch.tensor(label))
    reference = {
        "accuracy": sklearn_metrics.accuracy_score(label, verdict),
        "precision": sklearn_metrics.precision_score(label, verdict),
        "recall": sklearn_metrics.recall_score(label, verdict),
        "f1": sklearn_metrics.f1_score(label, verdict),
        "f1_macro": sklearn_metrics.f1_score(label, verdict, average="macro"),
        "auroc": sklearn_metrics.roc_auc_score(label, score),
        "average_precision": sklearn_metrics.average_precision_score(label, score),
        "brier": sklearn_metrics.brier_score_loss(label, score),
    }
    assert set(ours) == set(FIGURES) == {*reference, "ece"}
    assert {name: ours[name] for name in reference} == pytest.approx(reference, abs=1e-6)


def test_ranking_figures_read_scores_not_verdicts():
    """All verdicts are wrong here, and the ranking is perfect."""
    figures = scorer_figures(torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0, 0, 1, 1]))
    assert (figures["auroc"], figures["recall"]) == (1.0, 0.0)


def test_calibration_error_worked_out_by_hand():
    """15 bins of width 1/15: 0.1 falls in one with a fake rate of 0.5, 0.9 in one with 1.0: (2·0.4 + 2·0.1) / 4."""
    figures = scorer_figures(torch.tensor([0.1, 0.1, 0.9, 0.9]), torch.tensor([0, 1, 1, 1]))
    assert figures["ece"] == pytest.approx(0.25, abs=1e-6)


def test_one_class_leaves_the_ranking_undefined_and_the_rest_defined():
    figures = scorer_figures(torch.tensor([0.2, 0.7]), torch.tensor([1, 1]))
    assert math.isnan(figures["auroc"])
    assert math.isnan(figures["average_precision"])
    assert figures["accuracy"] == 0.5


def test_scores_of_several_batches_come_back_as_one_split_in_order():
    scores, expected = SplitScores(), []
    for rows in ([3, 0], [2], [1]):
        batch = draw_batch(len(rows))._replace(index=torch.tensor(rows), label=torch.tensor([r % 2 for r in rows]))
        probability = torch.tensor(rows) / 10
        logits = torch.stack([probability.logit(), torch.zeros(len(rows))], dim=1)
        scores.update(batch, SafeOutput(None, None, logits, probability, 1 - probability))
        expected += rows
    scored = scores.scored()
    assert scored.rows.tolist() == [0, 1, 2, 3]
    assert scored.probability.tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3])
    figures = split_figures(
        scored._replace(logits=torch.zeros(4, 2)), {"alpha": 0.6, "beta": 0.4, "similarity_loss": "real_only"}
    )
    real = [1 - r / 10 for r in (0, 2)]  # similarities of the two real articles
    by_hand = -sum(math.log(s) for s in real) / 4
    assert figures["loss_similarity"] == pytest.approx(by_hand, rel=1e-5)
    assert figures["loss_prediction"] == pytest.approx(math.log(2), rel=1e-6)
    assert figures["loss"] == pytest.approx(0.6 * math.log(2) + 0.4 * by_hand, rel=1e-5)
    assert figures["similarity"]["auroc"] == pytest.approx(0.75)  # 1 - s = 0, .1, .2, .3 for real, fake, real, fake
