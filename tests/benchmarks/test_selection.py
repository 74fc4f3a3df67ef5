"""The study of rules that choose a run's weights, on a few of the built-in articles."""

import csv

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

from benchmarks.selection import (
    BEST_AUROC,
    BEST_LOSS,
    CROSS_VALIDATED,
    CSV_HEADER,
    LAST,
    REFITTED,
    Scored,
    main,
    study,
    summarise,
)

SMALL = [
    "data.articles=60", "data.batch_size=8", "model.num_filters=2", "model.feature_dim=4", "trainer.max_epochs=3",
]  # fmt: skip


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """A study of two folds: what it printed, and the rows of its CSV file."""
    folder = tmp_path_factory.mktemp("selection")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with (folder / "out").open("w") as out:
            patch.setattr("sys.stdout", out)
            main([*SMALL, "--splits", "random", "--folds", "2", "--seeds", "0", "--refit", "--csv", "rules.csv"])
    with (folder / "rules.csv").open(newline="") as file:
        return (folder / "out").read_text(), list(csv.DictReader(file))


def test_every_rule_is_scored_on_every_fold(printed):
    out, rows = printed
    assert list(rows[0]) == CSV_HEADER
    rules = dict.fromkeys(row["rule"] for row in rows)
    assert {BEST_LOSS, BEST_AUROC, LAST, CROSS_VALIDATED, REFITTED, "`callbacks.select=auto`"} <= rules.keys()
    for rule in rules:
        assert [row["fold"] for row in rows if row["rule"] == rule] == ["0", "1"], rule
        assert f"| random | {rule} |" in out
    assert {row["epoch"] for row in rows if row["rule"] in (LAST, REFITTED)} == {"3"}
    assert all(0 <= float(row["auroc"]) <= 1 for row in rows)


def test_trainings_of_folds_may_end_after_different_numbers_of_epochs(monkeypatch):
    def scored(logit):
        return Scored(torch.tensor([-logit, logit], dtype=torch.float64), torch.arange(2))

    # Fold 0 has two epochs: the third one of the others, which has the least loss, is not taken in any fold.
    courses = {0: [1.0, 2.0], 1: [1.0, 2.0, 9.0], 2: [1.0, 2.0, 9.0]}

    def train(config, *_):
        epochs = [scored(logit) for logit in courses[config.data.fold]]
        return {}, epochs, epochs

    monkeypatch.setattr("benchmarks.selection.train_once", train)
    monkeypatch.setattr("benchmarks.selection.read_fold", lambda config: config)
    rows = study([], ["random"], 3, [0], refit=False)
    assert [(row["rule"], row["epoch"]) for row in rows] == [(CROSS_VALIDATED, 2)] * 3


def test_a_table_has_the_figures_of_scikit_learn():
    torch.manual_seed(0)
    label = torch.arange(20) % 2
    tests = [Scored(torch.randn(20, dtype=torch.float64), label) for _ in range(2)]
    rows = [
        {"split": "source", "fold": 0, "seed": seed, "rule": LAST, "epoch": 4 + seed, "test": test, **test.figures()}
        for seed, test in enumerate(tests)
    ]
    (line,) = summarise(rows)
    for cell, measure in zip(line[2:5], (roc_auc_score, accuracy_score, f1_score), strict=True):
        scored = [test.logit if measure is roc_auc_score else test.logit > 0 for test in tests]
        expected = torch.tensor([measure(label, values) for values in scored], dtype=torch.float64)
        assert cell == f"{expected.mean():.3f} ± {expected.std():.3f}"
    together = roc_auc_score(label, (tests[0].logit + tests[1].logit) / 2)
    assert line[5:] == ["4.5", f"{together:.3f}"]
    assert tests[0].loss == pytest.approx(log_loss(label, tests[0].logit.sigmoid()))
