"""The table of rivals: the mean of seeds, baselines on the same articles, and the paper's figures."""

import numpy as np
import pytest
from scipy.special import logit
from sklearn.metrics import f1_score, roc_auc_score

from safe_exp.reporting.conditions import group
from safe_exp.reporting.rivals import rivals_table
from safe_exp.reporting.table_files import to_csv_rows
from safe_exp.sweep.folder import read_baselines, read_sweep
from tests.reporting.made_sweep import ARTICLES, write_baseline, write_job

LABELS = [label for _, label, _, _ in ARTICLES]
OTHERS = tuple((f"{name}-other", *rest) for name, *rest in ARTICLES)


def make_rows(sweep, baselines=None):
    found = [] if baselines is None else read_baselines(baselines)
    table = rivals_table(group(read_sweep(sweep), found))
    return {row["who"]: row for row in table.rows}


def with_probabilities(values, articles=ARTICLES):
    return tuple((name, label, value, m) for (name, label, _, m), value in zip(articles, values, strict=True))


def test_the_mean_of_the_seeds_is_the_mean_logit_of_each_split(tmp_path):
    drawn = np.random.default_rng(0).uniform(0.05, 0.95, (2, 3, 6)).round(6)  # folds, seeds, articles
    number, expected = 0, []
    for fold, of_fold in enumerate(drawn):
        folds_articles = (ARTICLES, OTHERS)[fold]
        for seed, values in enumerate(of_fold):
            write_job(tmp_path / "sweep", number, f"data.fold={fold}", f"seed={seed}",
                      articles=with_probabilities(values, folds_articles))  # fmt: skip
            number += 1
        write_baseline(tmp_path / "rivals", fold, "majority", f"data.fold={fold}", articles=folds_articles)
        mean = logit(of_fold).mean(axis=0)
        expected.append((roc_auc_score(LABELS, mean), f1_score(LABELS, mean > 0)))
    row = make_rows(tmp_path / "sweep", tmp_path / "rivals")["ours: all jobs, mean of 3 seeds"]
    assert row["auroc"].mean == pytest.approx(np.mean(expected, axis=0)[0])
    assert row["f1"].mean == pytest.approx(np.mean(expected, axis=0)[1])
    assert row["f1"].sd == pytest.approx(np.std(expected, axis=0, ddof=1)[1])
    assert (row["auroc"].n, row["jobs"], row["majority"]) == (2, 6, 0.5)


def test_certain_probabilities_have_a_mean_too(tmp_path):
    for seed, values in enumerate(([1, 1, 0, 0, 0, 0], [0, 0.9, 0.9, 0.1, 0, 0.2])):
        write_job(tmp_path / "sweep", seed, f"seed={seed}", articles=with_probabilities(values))
    write_baseline(tmp_path / "rivals", 0, "majority")
    row = make_rows(tmp_path / "sweep", tmp_path / "rivals")["ours: all jobs, mean of 2 seeds"]
    assert row["auroc"].mean == pytest.approx(roc_auc_score(LABELS, [0.0, 8.4, -6.2, -8.4, -14.5, -7.9]))


def test_seeds_whose_predictions_are_gone_have_no_mean(tmp_path):
    for seed in range(2):
        write_job(tmp_path / "sweep", seed, f"seed={seed}")
    write_baseline(tmp_path / "rivals", 0, "majority")
    (tmp_path / "sweep" / "1" / "predictions.csv").unlink()
    assert list(make_rows(tmp_path / "sweep", tmp_path / "rivals")) == ["ours: all jobs", "baseline: majority"]


def test_baselines_stand_beside_the_conditions_of_their_own_split(tmp_path):
    for number, (split, articles) in enumerate((("source", ARTICLES), ("random", OTHERS))):
        for place, model in enumerate(("safe", "text_only")):
            write_job(tmp_path / "sweep", 2 * number + place, f"data.split={split}", f"model={model}",
                      articles=articles, auroc=0.6 + 0.1 * place, val_loss=0.5 - 0.1 * place)  # fmt: skip
        for place, name in enumerate(("tfidf", "majority")):
            write_baseline(tmp_path / "rivals", 2 * number + place, name, f"data.split={split}", articles=articles,
                           auroc=0.9 - 0.4 * place)  # fmt: skip
    table = rivals_table(group(read_sweep(tmp_path / "sweep"), read_baselines(tmp_path / "rivals")))
    assert [(row["data.split"], row["who"], row["auroc"].mean) for row in table.rows] == [
        (split, who, pytest.approx(score))
        for split in ("source", "random")
        for who, score in (
            ("ours: text_only", 0.7), ("ours: safe", 0.6), ("baseline: tfidf", 0.9), ("baseline: majority", 0.5)
        )
    ]  # fmt: skip


def test_baselines_that_tested_other_articles_are_left_out(tmp_path):
    write_job(tmp_path / "sweep", 0, "seed=0")
    write_baseline(tmp_path / "rivals", 0, "tfidf", articles=OTHERS)
    study = group(read_sweep(tmp_path / "sweep"), read_baselines(tmp_path / "rivals"))
    assert study.baselines == []
    assert rivals_table(study) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "alike"), [("true", "true", True), ("true", "false", False), ("all", "false", True)]
)
def test_rows_that_were_fitted_on_more_articles_than_others_are_pointed_out(tmp_path, ours, theirs, alike):
    write_job(tmp_path / "sweep", 0, "seed=0", f"refit={ours}")
    write_baseline(tmp_path / "rivals", 0, "tfidf", f"refit={theirs}")
    note = rivals_table(group(read_sweep(tmp_path / "sweep"), read_baselines(tmp_path / "rivals"))).note
    assert ("fitted and scored on the very same articles" in note) == alike
    assert ("Not all rows were fitted on the same: refit=true adds" in note) != alike


def test_settings_of_a_baseline_that_vary_are_named(tmp_path):
    write_job(tmp_path / "sweep", 0, "seed=0")
    for number, strength in enumerate((1.0, 10.0)):
        write_baseline(tmp_path / "rivals", number, "tfidf", f"baseline.C={strength}")
    rows = make_rows(tmp_path / "sweep", tmp_path / "rivals")
    assert [who for who in rows if who.startswith("baseline")] == [
        "baseline: tfidf, baseline.C = 1", "baseline: tfidf, baseline.C = 10"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("site", "names", "theirs", "share"),
    [
        # Of 1,000 articles 738 of the class: 738 × 0.937 = 692 found, 692 / 0.857 = 807 called so: 115 + 46 mistakes.
        ("gossipcop/", "a{}", [0.838, 0.857, 0.937, 0.895], "74%"),
        ("", "politifact1{}", [0.874, 0.889, 0.903, 0.896], "60%"),
        ("test/", "politifact1{}", [0.874, 0.889, 0.903, 0.896], "60%"),  # of a folder of the test side
    ],
)
def test_the_paper_s_figures_stand_beside_ours_on_its_own_sites(tmp_path, site, names, theirs, share):
    articles = [(f"{a[0].split('/')[0]}/{names.format(n)}", *a[1:]) for n, a in enumerate(ARTICLES)]
    write_job(tmp_path, 0, "seed=0", accuracy=0.75, site=site, articles=articles)
    table = rivals_table(group(read_sweep(tmp_path)))
    assert [table.rows[0][name] for name in ("accuracy", "precision", "recall", "f1")] == theirs
    assert table.rows[0]["who"].startswith("theirs")
    assert "auroc" not in table.rows[0]
    header, quoted, _ = to_csv_rows(table)
    assert quoted[header.index("accuracy_mean")] == theirs[0]  # a single number among summaries is in the file too
    assert table.rows[1]["accuracy"].mean == 0.75
    assert (table.rows[1]["articles"], table.rows[1]["majority"]) == (6, 0.5)
    assert "not exactly these" in table.note
    assert f"{share} of its test articles must be" in table.note


def test_other_articles_have_no_figures_of_the_paper_beside_them(tmp_path):
    write_job(tmp_path, 0, "seed=0")
    assert rivals_table(group(read_sweep(tmp_path))) is None
    write_job(tmp_path, 0, "seed=0", articles=[("row 4", 1, 0.5, 0.5), ("row 5", 0, 0.5, 0.5)])  # of a table
    assert rivals_table(group(read_sweep(tmp_path))) is None
    write_job(tmp_path, 0, "seed=0", articles=[("politifact/fake/a", 1, 0.5, 0.5), ("other/real/b", 0, 0.5, 0.5)])
    assert rivals_table(group(read_sweep(tmp_path))) is None
