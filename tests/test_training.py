"""The score that a sweep compares."""

import pytest

from safe_exp.training import validation_score


@pytest.mark.parametrize(
    ("monitor", "expected"), [("val/loss", 0.3), ("val/auroc", 0.9), ("val/similarity_auroc", 0.8)]
)
def test_a_sweep_compares_the_monitored_figure(monitor, expected):
    figures = {"loss": 0.3, "prediction": {"auroc": 0.9}, "similarity": {"auroc": 0.8}}
    assert validation_score(figures, monitor) == expected
