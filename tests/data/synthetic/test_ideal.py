import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score

from safe_exp.data.synthetic import ideal_auroc, ideal_figures
from safe_exp.data.synthetic.plan import plan_article
from tests.made import compose_config


def make_config(cue, mismatch):
    return compose_config("data=synthetic", f"data.cue_strength={cue}", f"data.mismatch_strength={mismatch}").data


@pytest.mark.parametrize(("cue", "mismatch"), [(0.5, 0.9), (0.2, 0.3)])
def test_ideal_figures_are_what_a_classifier_on_the_hidden_signals_reaches(cue, mismatch):
    config = make_config(cue, mismatch)
    plans = [plan_article(number, config) for number in range(20_000)]
    label = np.array([plan.label for plan in plans])
    loud = np.array([sum(plan.loud) for plan in plans])
    archive = np.array([plan.from_archive for plan in plans])
    night = np.array([plan.picture.night for plan in plans])
    # The log-likelihood ratio is linear in these, so a logistic regression finds it.
    views = {
        "everything": [loud, archive], "words_and_picture_apart": [loud, night],
        "words": [loud], "picture": [night], "match": [archive],
    }  # fmt: skip
    figures = ideal_figures(config)
    assert figures.keys() == views.keys()
    for name, columns in views.items():
        x = np.stack(columns, axis=1).astype(float)
        probability = LogisticRegression(C=1e4).fit(x[:10_000], label[:10_000]).predict_proba(x[10_000:])[:, 1]
        assert roc_auc_score(label[10_000:], probability) == pytest.approx(figures[name].auroc, abs=0.012), name
        accuracy = accuracy_score(label[10_000:], probability > 0.5)
        assert accuracy == pytest.approx(figures[name].accuracy, abs=0.012), name


def test_without_either_signal_nobody_beats_chance():
    for figure in ideal_figures(make_config(0, 0)).values():
        assert figure.auroc == pytest.approx(0.5, abs=1e-12)
        assert figure.accuracy == pytest.approx(0.5, abs=1e-12)


def test_each_strength_feeds_its_own_signal_alone():
    words, pictures = ideal_figures(make_config(0.5, 0)), ideal_figures(make_config(0, 0.9))
    assert words["everything"].auroc == pytest.approx(words["words"].auroc)
    assert words["match"].auroc == pytest.approx(0.5)
    assert words["picture"].auroc == pytest.approx(0.5)
    assert pictures["everything"].auroc == pytest.approx(pictures["match"].auroc)
    assert pictures["words"].auroc == pytest.approx(0.5)


def test_a_little_doubt_remains_at_full_strength():
    assert 0.98 < ideal_auroc(make_config(1, 1)) < 1


def test_the_match_figure_agrees_with_a_sum_by_hand():
    # One yes-or-no signal: AUROC = 1/2 + (P(yes | fake) - P(yes | real)) / 2, here with 0.876 and 0.03.
    assert ideal_figures(make_config(0.5, 0.9))["match"].auroc == pytest.approx(0.5 + (0.876 - 0.03) / 2)


def test_default_strengths_leave_the_pictures_something_to_add():
    config = compose_config("data=synthetic").data
    figures = ideal_figures(config)
    assert 0.97 < figures["everything"].auroc < 0.99
    assert figures["words"].auroc < 0.90 < figures["words_and_picture_apart"].auroc
