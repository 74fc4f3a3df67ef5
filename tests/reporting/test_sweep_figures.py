"""The choice of a sweep's figures, and their content."""

import numpy as np
import pytest

from safe_exp.figures.sheet import save_figure
from safe_exp.reporting.axis_figures import bars_figure, curve_figure, heat_map_figure
from safe_exp.reporting.conditions import group
from safe_exp.reporting.sweep_figures import (
    losses_figure,
    mean_similarity,
    sweep_drawings,
    winner_reliability_figure,
)
from safe_exp.sweep.folder import read_sweep
from tests.reporting.made_sweep import ARTICLES, write_job


def read_study(sweep):
    return group(read_sweep(sweep))


def drawing_names(sweep, score="auroc"):
    return [drawing.name for drawing in sweep_drawings(read_study(sweep), score)]


def write_values(sweep, key, values, seeds=(0,), **given):
    for number, (value, seed) in enumerate((value, seed) for value in values for seed in seeds):
        write_job(sweep, number, f"{key}={value}", f"seed={seed}", auroc=0.5 + number / 100, **given)


ALWAYS = ["similarity", "reliability", "losses"]


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("model.gamma", [0.01, 0.1], ["gamma", *ALWAYS]),
        ("model.filter_sizes", ["[3]", "[3,4]"], ["filter_sizes", *ALWAYS]),
        ("model", ["safe", "text_only"], ["variants", *ALWAYS]),
        ("data.cue_strength", [0, 0.5, 1], ["data_cue_strength", *ALWAYS]),
    ],
)
def test_only_figures_that_make_sense_are_drawn(tmp_path, key, values, expected):
    write_values(tmp_path, key, values)
    assert drawing_names(tmp_path) == expected


def test_seeds_alone_have_no_axis(tmp_path):
    for seed in range(2):
        write_job(tmp_path, seed, f"seed={seed}")
    assert drawing_names(tmp_path) == ALWAYS


def test_alpha_and_beta_share_a_map_whose_empty_cell_says_so(tmp_path):
    number = 0
    for alpha in (0, 0.5):
        for beta in (0, 1):
            state = "finished" if alpha or beta else "failed"
            write_job(
                tmp_path, number, f"model.alpha={alpha}", f"model.beta={beta}", state=state, auroc=0.6 + alpha / 5
            )
            number += 1
    assert drawing_names(tmp_path)[0] == "alpha_beta"
    axes = heat_map_figure(read_study(tmp_path), "auroc").axes[0]
    np.testing.assert_allclose(axes.images[0].get_array().filled(np.nan), [[np.nan, 0.7], [0.6, 0.7]])
    texts = {tuple(map(round, text.get_position())): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "no\nresult", (1, 0): "0.700", (0, 1): "0.600", (1, 1): "0.700"}


def test_a_variant_without_similarity_takes_it_from_one_that_has_it(tmp_path):
    write_job(tmp_path, 0, "model=text_only", similarity=False, val_loss=0.1)
    write_job(tmp_path, 1, "model=safe")
    captions = {drawing.name: drawing.caption for drawing in sweep_drawings(read_study(tmp_path), "auroc")}
    assert captions["similarity"].startswith("Condition: safe.")
    assert "The winner compares no text with an image" in captions["similarity"]


def test_without_any_similarity_it_is_not_drawn(tmp_path):
    write_job(tmp_path, 0, "seed=0", similarity=False)
    assert drawing_names(tmp_path) == ["reliability", "losses"]


def test_the_curve_over_gamma_has_a_logarithmic_axis_and_the_means(tmp_path):
    write_values(tmp_path, "model.gamma", [0.01, 0.1, 0.3], seeds=(0, 1, 2))
    axes = curve_figure(read_study(tmp_path), "model.gamma", "auroc").axes[0]
    assert axes.get_xscale() == "log"
    (line,) = [line for line in axes.lines if line.get_label() == "mean over the jobs"]
    np.testing.assert_allclose(line.get_xydata(), [[0.01, 0.51], [0.1, 0.54], [0.3, 0.57]])
    assert len(axes.containers) == 1  # the intervals


def test_bars_begin_at_zero_and_have_whiskers_for_intervals(tmp_path):
    write_values(tmp_path, "model.filter_sizes", ["[3]", "[3,4]"], seeds=(0, 1, 2))
    axes = bars_figure(read_study(tmp_path), "model.filter_sizes", "auroc").axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.51, 0.54])
    assert axes.get_xlim()[0] == 0
    assert [label.get_text() for label in axes.get_yticklabels()] == ["[3]\n(winner)", "[3, 4]"]


def test_the_reliability_diagram_has_intervals_if_one_job_tested_each_article(tmp_path):
    write_job(tmp_path, 0, "seed=0")
    figure = winner_reliability_figure(read_study(tmp_path).winner)
    assert figure.get_suptitle() == "Reliability on 6 test articles, 1 job (bars: 95 % by Wilson)"
    (points,) = figure.axes[0].containers
    assert points.has_yerr


def test_the_reliability_diagram_has_no_intervals_if_several_jobs_tested_an_article(tmp_path):
    for seed in (0, 1):
        write_job(tmp_path, seed, f"seed={seed}")
    figure = winner_reliability_figure(read_study(tmp_path).winner)
    assert figure.get_suptitle() == "Reliability on 12 scores of 6 test articles, 2 jobs"
    (points,) = figure.axes[0].containers
    assert not points.has_yerr
    assert sum(bar.get_height() for bar in figure.axes[1].patches) == 12


def test_the_similarity_of_an_article_is_averaged_over_the_jobs(tmp_path):
    write_job(tmp_path, 0, "seed=0")
    write_job(tmp_path, 1, "seed=1", articles=[(a, label, p, s / 2) for a, label, p, s in ARTICLES])
    means = mean_similarity(read_study(tmp_path).winner)
    assert means.ids == [article[0] for article in ARTICLES]  # validation articles are not among them
    np.testing.assert_allclose(means.similarity, [0.75 * article[3] for article in ARTICLES])


def test_there_is_a_loss_line_for_each_of_175_jobs_and_the_file_stays_small(tmp_path):
    for number in range(175):
        write_job(tmp_path, number, f"model.alpha={number % 35}", f"seed={number // 35}", losses=np.linspace(1, 0, 40))
    study = read_study(tmp_path)
    figure = losses_figure(study)
    for axes in figure.axes:
        assert len([line for line in axes.lines if len(line.get_xdata())]) == 175
    save_figure(lambda: figure, tmp_path / "losses.svg", tmp_path / "losses.png")
    assert (tmp_path / "losses.svg").stat().st_size < 1_000_000


def test_the_same_sweep_gives_the_same_svg_byte_for_byte(tmp_path):
    write_values(tmp_path, "model.gamma", [0.01, 0.1])
    for name in ("a.svg", "b.svg"):
        save_figure(sweep_drawings(read_study(tmp_path), "auroc")[0].build, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
