"""A job as it is read back from its folder."""

import csv

import numpy as np

from safe_exp.runs.job_outcome import ScoredArticle, read_job
from safe_exp.scoring.epoch_values import write_curves
from safe_exp.scoring.results import Predictions, write_predictions
from tests.made_jobs import write_job


def test_ids_that_a_spreadsheet_takes_for_formulas_are_read_back_as_they_were(tmp_path):
    ids = ["=cmd|'/C calc'!A1", "@a", "-1", "'=b", "c"]
    folder = write_job(tmp_path, 0)
    scores = np.linspace(0.1, 0.9, len(ids))
    write_predictions(folder / "predictions.csv", [Predictions("test", ids, np.arange(len(ids)) % 2, scores, None)])
    with open(folder / "predictions.csv", newline="", encoding="utf-8") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["'=cmd|'/C calc'!A1", "'@a", "-1", "''=b", "c"]
    assert read_job(folder, 0, []).test_predictions.ids == ids


def test_scored_articles_are_those_of_the_file_without_the_ones_that_have_no_probability(tmp_path):
    rows = [
        ("a", "test", 1, 0.75, 0.5),
        ("b", "val", 1, 0.25, 0.5),
        ("c", "test", 0, "nan", 0.5),
        ("d", "test", 0, 0.125, ""),
    ]
    job = read_job(write_job(tmp_path, 0, predictions=rows), 0, [])
    assert list(job.test_predictions) == [ScoredArticle("a", 1, 0.75, 0.5), ScoredArticle("d", 0, 0.125, None)]
    assert job.test_counts == (1, 1)  # the manifest has none


def test_curves_come_from_their_file_and_from_the_log_where_there_is_none_that_can_be_read(tmp_path):
    job = read_job(write_job(tmp_path, 0), 0, [])
    assert job.read_epochs() == {}
    log = job.folder / "logs" / "version_0" / "metrics.csv"
    log.parent.mkdir(parents=True)
    log.write_text("epoch,train/loss\n0,0.5\n1,0.25\n")
    assert job.read_epochs() == {"train/loss": {0: 0.5, 1: 0.25}}
    write_curves(job.folder, [{"train/loss": 0.75}, {"val/loss": 1.0}])
    assert job.read_epochs() == {"train/loss": {0: 0.75}, "val/loss": {1: 1.0}}
    (job.folder / "curves.json").write_text("{")
    assert job.read_epochs() == {"train/loss": {0: 0.5, 1: 0.25}}
