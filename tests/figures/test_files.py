"""The choice of the runs that are drawn at their end. The figures drawn later: tests/reporting/test_run_report.py."""

import pytest

from safe_exp.figures.files import FIGURES, figure_path, remove_drawings
from safe_exp.system.errors import UserError
from safe_exp.training.writing import draws_figures
from tests.made import compose_config


@pytest.mark.parametrize(
    ("figures", "pictures", "alone", "in_a_sweep"),
    [
        ("auto", False, True, False),
        ("auto", True, True, True),
        ("true", False, True, True),
        ("false", True, False, False),
    ],
)
def test_jobs_of_sweeps_are_drawn_on_request_alone(figures, pictures, alone, in_a_sweep):
    config = compose_config(f"figures={figures}", f"logger.pictures={pictures}")
    assert (draws_figures(config, None), draws_figures(config, "a sweep")) == (alone, in_a_sweep)


def test_drawings_of_an_earlier_end_are_removed_and_nothing_else(tmp_path):
    remove_drawings(tmp_path)  # there is nothing yet
    (tmp_path / "figures").mkdir()
    for path in (*(figure_path(tmp_path, name) for name in FIGURES), tmp_path / "report.html"):
        path.touch()
    (tmp_path / "figures" / "mine.png").touch()
    remove_drawings(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["figures", "mine.png"]


def test_other_values_are_refused():
    with pytest.raises(UserError, match="figures=always: expected auto"):
        compose_config("figures=always")
