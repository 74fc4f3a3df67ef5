"""A job as it is read back from its folder."""

import csv

import numpy as np

from safe_exp.runs.job_outcome import read_job
from safe_exp.scoring.results import Predictions, write_predictions
from tests.made_jobs import write_job


def test_ids_that_a_spreadsheet_takes_for_formulas_are_read_back_as_they_were(tmp_path):
    ids = ["=cmd|'/C calc'!A1", "@a", "-1", "'=b", "c"]
    folder = write_job(tmp_path, 0)
    scores = np.linspace(0.1, 0.9, len(ids))
    write_predictions(folder / "predictions.csv", [Predictions("test", ids, np.arange(len(ids)) % 2, scores, None)])
    with open(folder / "predictions.csv", newline="", encoding="utf-8") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["'=cmd|'/C calc'!A1", "'@a", "-1", "''=b", "c"]
    assert [article.id for article in read_job(folder, 0, []).test_predictions] == ids
