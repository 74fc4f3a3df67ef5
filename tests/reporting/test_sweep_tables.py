"""The tables of made sweeps equal those worked out by hand."""

import json
import math

import pytest
import scipy.stats

from safe_exp.reporting.conditions import group
from safe_exp.reporting.sweep_tables import VERDICT, sweep_tables
from safe_exp.scoring.scores import FIGURES
from safe_exp.sweep.folder import read_baselines, read_sweep
from tests.reporting.made_sweep import ARTICLES, write_baseline, write_job, write_multirun


def make_tables(sweep, score="auroc", baselines=()):
    return {table.name: table for table in sweep_tables(group(read_sweep(sweep), baselines), score)}


def write_folds(sweep, **site):
    """Write two values of α on three folds with two seeds; on test α = 0.4 is better by 0.1, 0.2, 0.3 in the folds."""
    number = 0
    for alpha in (0.2, 0.4):
        for fold in range(3):
            for seed in range(2):
                score = 0.5 + (0.1 * (fold + 1) if alpha == 0.4 else 0) + (0.02 if seed else -0.02)
                write_job(sweep, number, f"model.alpha={alpha}", f"data.fold={fold}", f"seed={seed}", auroc=score,
                          val_loss=1 - alpha, **site)  # fmt: skip
                number += 1


def test_every_figure_of_the_verdict_has_a_column():
    assert set(VERDICT) == set(FIGURES)


def test_conditions_hold_mean_spread_and_majority_rate_beside_accuracy(tmp_path):
    articles = (*ARTICLES, ("real/b4", 0, 0.2, 0.9), ("real/b5", 0, 0.2, 0.9))  # 3 fake, 5 real
    for seed, accuracy in enumerate((0.6, 0.7, 0.8)):
        write_job(tmp_path, seed, f"seed={seed}", accuracy=accuracy, articles=articles)
    table = make_tables(tmp_path)["conditions"]
    (row,) = table.rows
    assert row["finished"] == "3 of 3"
    assert row["accuracy"].mean == pytest.approx(0.7)
    assert row["accuracy"].sd == pytest.approx(0.1)
    assert row["majority"] == 5 / 8
    assert row["fakes"] == 3 / 8
    jobs = make_tables(tmp_path)["jobs"]
    assert [job["majority"] for job in jobs.rows] == [5 / 8] * 3
    for found in (table, jobs):
        keys = [column.key for column in found.columns]
        place = keys.index("accuracy")
        assert keys[place + 1 : place + 3] == ["majority", "fakes"]


def test_the_combined_scorer_and_the_calibration_have_columns_where_the_jobs_have_them(tmp_path):
    for seed in (0, 1):
        write_job(tmp_path, seed, f"seed={seed}")
    assert not [c.key for c in make_tables(tmp_path)["conditions"].columns if c.key.startswith(("comb", "cal"))]
    path = tmp_path / "1" / "metrics.json"  # the other job is of an older version
    metrics = json.loads(path.read_text())
    metrics["test"] |= {"combined": metrics["test"]["prediction"] | {"auroc": 0.75}, "calibrated": {"ece": 0.125}}
    path.write_text(json.dumps(metrics))
    (row,) = make_tables(tmp_path)["conditions"].rows
    assert (row["combined_auroc"].mean, row["combined_auroc"].n) == (0.75, 1)
    assert row["calibrated_ece"].mean == 0.125


def test_the_best_on_validation_comes_first(tmp_path):
    write_folds(tmp_path)
    rows = make_tables(tmp_path)["conditions"].rows
    assert [row["model.alpha"] for row in rows] == ["0.4", "0.2"]
    assert [row["won"] for row in rows] == [True, False]


def test_folds_are_compared_in_pairs_with_averaged_seeds_and_corrected_variance(tmp_path):
    write_folds(tmp_path)
    table = make_tables(tmp_path)["comparisons"]
    (row,) = table.rows
    # α = 0.2 minus α = 0.4: -0.1, -0.2, -0.3, mean -0.2, sd 0.1; 6 test and 24 training articles.
    t = -0.2 / (0.1 * math.sqrt(1 / 3 + 6 / 24))
    assert (row["condition"], row["pairs"]) == ("α = 0.2", 3)
    assert row["difference"] == pytest.approx(-0.2)
    assert row["t"] == pytest.approx(t)
    assert row["p"] == pytest.approx(2 * scipy.stats.t.cdf(t, df=2))
    assert row["p_holm"] == row["p"]
    assert "flatter" in table.note
    assert "won on the validation" in table.note


def test_seeds_on_one_split_are_compared_by_the_plain_paired_test(tmp_path):
    ours, reference = [0.7, 0.75, 0.71, 0.8], [0.6, 0.72, 0.7, 0.7]
    for number in range(4):
        write_job(tmp_path, number, "model=safe", f"seed={number}", auroc=reference[number])
        write_job(tmp_path, number + 4, "model=text_only", f"seed={number}", auroc=ours[number])
    (row,) = make_tables(tmp_path)["comparisons"].rows
    assert row["condition"] == "text_only"
    assert row["p"] == pytest.approx(scipy.stats.ttest_rel(ours, reference).pvalue)


def test_variants_are_compared_with_safe_on_the_same_articles(tmp_path):
    scores = {("source", "safe"): 0.6, ("source", "no_similarity"): 0.5, ("random", "safe"): 0.9,
              ("random", "no_similarity"): 0.7}  # fmt: skip
    number = 0
    for (split, model), score in scores.items():
        for fold in range(3):
            write_job(tmp_path, number, f"data.split={split}", f"model={model}", f"data.fold={fold}",
                      auroc=score + (0.01 * fold if model == "safe" else 0), val_loss=1 - score)  # fmt: skip
            number += 1
    table = make_tables(tmp_path)["comparisons"]
    assert [(row["condition"], row["reference"]) for row in table.rows] == [
        ("data.split = source, no_similarity", "data.split = source, safe"),
        ("data.split = random, no_similarity", "data.split = random, safe"),
    ]
    differences = [[-0.1, -0.11, -0.12], [-0.2, -0.21, -0.22]]
    for row, given in zip(table.rows, differences, strict=True):
        # Nadeau and Bengio: s² (1/n + 6 test articles / 24 training articles) in place of s²/n.
        t = scipy.stats.ttest_1samp(given, 0).statistic * math.sqrt((1 / 3) / (1 / 3 + 6 / 24))
        assert row["t"] == pytest.approx(t)
    assert min(row["p_holm"] for row in table.rows) == pytest.approx(2 * min(row["p"] for row in table.rows))


@pytest.mark.parametrize(("refit", "trained"), [("true", 24 + 6), ("all", 24)])  # test figures of all: before the refit
def test_the_correction_counts_the_validation_articles_that_a_refit_trains_on(tmp_path, refit, trained):
    for number, (model, score) in enumerate([("safe", 0.6)] * 3 + [("text_only", 0.5)] * 3):
        write_job(tmp_path, number, f"refit={refit}", f"model={model}", f"data.fold={number % 3}",
                  auroc=score + 0.01 * number * (model == "safe"))  # fmt: skip
    (row,) = make_tables(tmp_path)["comparisons"].rows
    t = scipy.stats.ttest_1samp([-0.1, -0.11, -0.12], 0).statistic * math.sqrt((1 / 3) / (1 / 3 + 6 / trained))
    assert row["t"] == pytest.approx(t)


def test_a_baseline_is_compared_with_the_mean_of_the_seeds_of_each_fold(tmp_path):
    write_folds(tmp_path / "sweep")
    for fold, score in enumerate((0.55, 0.75, 0.85)):
        write_baseline(tmp_path / "rivals", fold, "tfidf", f"data.fold={fold}", auroc=score)
    rows = make_tables(tmp_path / "sweep", baselines=read_baselines(tmp_path / "rivals"))["comparisons"].rows
    assert [row["condition"] for row in rows] == ["α = 0.2", "tfidf"]
    # α = 0.4 has 0.6, 0.7, 0.8: tfidf minus it -0.05, 0.05, 0.05.
    mean, sd = 0.05 / 3, math.sqrt(((0.05 + 0.05 / 3) ** 2 + 2 * (0.05 - 0.05 / 3) ** 2) / 2)
    assert rows[1]["difference"] == pytest.approx(mean)
    assert rows[1]["t"] == pytest.approx(mean / (sd * math.sqrt(1 / 3 + 6 / 24)))
    assert rows[1]["pairs"] == 3


def test_an_undefined_figure_is_left_out_of_the_mean(tmp_path):
    for seed, auroc in enumerate((0.6, None, 0.8)):
        write_job(tmp_path, seed, f"seed={seed}", auroc=auroc)
    (row,) = make_tables(tmp_path)["conditions"].rows
    assert (row["auroc"].n, row["auroc"].mean) == (2, pytest.approx(0.7))


def test_every_job_has_a_row_whatever_its_state(tmp_path):
    write_multirun(tmp_path, "model.alpha=0.2,0.4")
    write_job(tmp_path, 0, "model.alpha=0.2", auroc=0.9)
    rows = make_tables(tmp_path)["jobs"].rows
    assert [(row["job"], row["model.alpha"], row["state"], row.get("auroc")) for row in rows] == [
        (0, "0.2", "finished", 0.9), (1, "0.4", "missing", None),
    ]  # fmt: skip
