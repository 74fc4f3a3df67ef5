"""Figures of a run show the counts of scikit-learn and by hand, and are drawn for every awkward test split."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import rcParams
from PIL import Image
from sklearn.metrics import confusion_matrix

from safe_exp.figures.reliability import draw_reliability
from safe_exp.figures.run_figures import (
    confusion_figure,
    draw_run_figures,
    loss_figure,
    ranking_figure,
    similarity_figure,
)
from safe_exp.figures.sheet import _blank, save_figure
from safe_exp.scoring.calibration import Calibration


def made_predictions(count, seed=0, decimals=2):
    """Make scores with ties, as rounding makes them, that separate the classes somewhat."""
    random = np.random.default_rng(seed)
    label = (np.arange(count) % 5 < 2).astype(int)
    probability = np.clip(0.3 + 0.3 * label + random.normal(0, 0.2, count), 0, 1).round(decimals)
    similarity = np.clip(0.7 - 0.2 * label + random.normal(0, 0.1, count), 0, 1).round(decimals)
    verdict = (probability > 0.5).astype(int)
    return SimpleNamespace(label=label, probability=probability, similarity=similarity, verdict=verdict)


def made_history(epochs):
    return [
        {f"{stage}/{loss}": 1 / (epoch + 1) for stage in ("train", "val") for loss in ("loss", "loss_prediction")}
        for epoch in range(epochs)
    ]


def line(axes, start):
    (found,) = [line for line in axes.lines if line.get_label().startswith(start)]
    return found


def test_the_curves_equal_those_worked_out_by_hand():
    predictions = SimpleNamespace(
        label=np.array([0, 1, 1, 0, 0]), probability=np.array([0.9, 0.8, 0.6, 0.6, 0.4]), similarity=None
    )
    roc, precision_recall = (line(axes, "prediction") for axes in ranking_figure(predictions).axes)
    np.testing.assert_allclose(roc.get_xydata(), [[0, 0], [1 / 3, 0], [1 / 3, 0.5], [2 / 3, 1], [1, 1]])
    assert roc.get_label().endswith("AUC 0.583")  # of 2 · 3 pairs 3 in order and one equal: 3.5 / 6
    # Begins at recall 0 with the precision of the highest threshold.
    np.testing.assert_allclose(precision_recall.get_xydata(), [[0, 0], [0, 0], [0.5, 0.5], [1, 0.5], [1, 0.4]])
    assert precision_recall.get_label().endswith("AP 0.500")


@pytest.mark.parametrize("count", [16, 160])
def test_plotted_points_equal_the_rates_at_each_threshold(count):
    predictions = made_predictions(count)
    roc, precision_recall = ranking_figure(predictions).axes
    scores = {"prediction": predictions.probability, "similarity": 1 - predictions.similarity}
    fake = predictions.label == 1
    for name, score in scores.items():
        called = np.array([score >= threshold for threshold in np.unique(score)[::-1]])  # (T, N)
        recall, false_positive_rate = called[:, fake].mean(axis=1), called[:, ~fake].mean(axis=1)
        np.testing.assert_allclose(line(roc, name).get_xydata()[1:], np.stack([false_positive_rate, recall], axis=1))
        precision = (called & fake).sum(axis=1) / called.sum(axis=1)
        drawn = line(precision_recall, name).get_xydata()
        np.testing.assert_allclose(drawn[1:], np.stack([recall, precision], axis=1))
        np.testing.assert_allclose(drawn[0], [0, precision[0]])


@pytest.mark.parametrize("seed", range(5))
def test_the_area_equals_the_share_of_ordered_pairs_under_many_ties(seed):
    predictions = made_predictions(40, seed, decimals=1)
    fakes, reals = (predictions.probability[predictions.label == label] for label in (1, 0))
    above = fakes[:, None] - reals
    area = (above > 0).mean() + (above == 0).mean() / 2
    found = float(line(ranking_figure(predictions).axes[0], "prediction").get_label().split()[-1])
    assert found == pytest.approx(area, abs=5.01e-4)


def test_confusion_matrix_holds_the_counts_of_scikit_learn_with_fake_first():
    predictions = made_predictions(50)
    texts = [text.get_text() for text in confusion_figure(predictions).axes[0].texts]
    expected = confusion_matrix(predictions.label, predictions.verdict, labels=[1, 0])
    assert [int(text) for text in texts[::2]] == expected.ravel().tolist()
    shares = confusion_matrix(predictions.label, predictions.verdict, labels=[1, 0], normalize="true")
    assert [text.split(" ")[0] for text in texts[1::2]] == [f"{share:.0%}" for share in shares.ravel()]


def test_loss_curves_show_the_history_and_the_best_epoch():
    history = [{"train/loss": 0.9, "val/loss": 1.0}, {"train/loss": 0.5}, {"train/loss": 0.4, "val/loss": 0.6}]
    (axes,) = loss_figure(history, best_epoch=2).axes
    assert line(axes, "training").get_xydata().tolist() == [[1, 0.9], [2, 0.5], [3, 0.4]]
    np.testing.assert_array_equal(line(axes, "validation").get_ydata(), [1.0, np.nan, 0.6])
    assert line(axes, "best checkpoint").get_label().endswith("epoch 3")


def test_similarity_histogram_shows_shares_of_each_class():
    axes = similarity_figure(made_predictions(50)).axes[0]
    labels = axes.get_legend_handles_labels()[1]
    assert [label.split(",")[1].strip() for label in labels] == ["n = 30", "n = 20"]
    for outline in axes.patches:
        steps = outline.get_xy()
        # The outline runs along the bars' tops and back along the baseline: every bin's height stands there twice.
        heights = [steps[i, 1] for i in range(1, len(steps) // 2, 2)]
        assert sum(heights) == pytest.approx(100)


def test_every_figure_is_a_png_of_readable_size(tmp_path):
    settings = dict(rcParams)
    paths = draw_run_figures(tmp_path, made_history(12), made_predictions(40), best_epoch=7)
    assert sorted(paths) == ["confusion_matrix", "loss_curves", "ranking", "similarity"]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(f"{name}.png" for name in paths)
    for path in paths.values():
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"
            assert image.width >= 600
            assert image.height >= 500
    assert dict(rcParams) == settings


def test_a_variant_without_similarity_has_no_similarity_figure(tmp_path):
    predictions = made_predictions(20)
    predictions.similarity = None
    assert "similarity" not in draw_run_figures(tmp_path, made_history(2), predictions)
    assert not (tmp_path / "figures" / "similarity.png").exists()


def test_a_variant_without_prediction_is_ranked_by_similarity_alone():
    predictions = made_predictions(20)
    predictions.probability = None
    labels = [line.get_label() for line in ranking_figure(predictions).axes[0].lines]
    assert [label.split()[0] for label in labels] == ["chance:", "similarity"]


@pytest.mark.parametrize("only", [0, 1])
def test_a_test_split_of_one_class_says_that_ranking_is_undefined(only, tmp_path):
    predictions = made_predictions(4)
    predictions.label[:] = only
    draw_run_figures(tmp_path, made_history(1), predictions)
    for axes in ranking_figure(predictions).axes:
        assert "Undefined" in axes.texts[0].get_text()
        assert not axes.lines


def test_equal_scores_and_an_empty_history_are_drawn(tmp_path):
    predictions = made_predictions(10)
    predictions.probability[:] = predictions.similarity[:] = 0.5
    draw_run_figures(tmp_path, [], predictions)
    assert line(ranking_figure(predictions).axes[0], "prediction").get_xydata().tolist() == [[0, 0], [1, 1]]
    assert "no losses" in loss_figure([], None).axes[0].texts[0].get_text()


def test_a_figure_shows_nothing_of_earlier_figures(tmp_path):
    """Axes are reused, so a figure must not depend on those drawn before it."""
    _blank.cache_clear()
    few, many = (made_predictions(20, seed=1), made_history(2), 1), (made_predictions(160), made_history(40), None)
    for folder, (predictions, history, best_epoch) in (("first", few), ("between", many), ("again", few)):
        draw_run_figures(tmp_path / folder, history, predictions, best_epoch)
        calibration = Calibration(1.7, {}, combination=None, articles=20)
        draw_reliability(tmp_path / folder / "figures" / "reliability.png", predictions, calibration)
        save_figure(lambda: similarity_figure(made_predictions(20)), tmp_path / folder / "similarity.svg")
    drawn = sorted(path.name for path in (tmp_path / "first" / "figures").iterdir())
    assert len(drawn) == 5
    for name in drawn:
        first, between, again = ((tmp_path / f / "figures" / name).read_bytes() for f in ("first", "between", "again"))
        assert first == again != between
