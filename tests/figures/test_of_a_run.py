"""Figures that are drawn when somebody asks for them."""

import shutil

import pytest

from safe_exp.config import Figures
from safe_exp.figures.of_a_run import draw_figures_of_finished
from safe_exp.system.errors import UserError
from safe_exp.system.files import read_sealed_json
from safe_exp.training.writing import draws_figures
from tests.commands import SMALL, only_run, read_rows, run
from tests.made import compose_config


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A single run, which has drawn its figures at its end."""
    folder = tmp_path_factory.mktemp("drawn")
    assert run("train", *SMALL, "logger=csv", cwd=folder).returncode == 0
    return only_run(folder)


@pytest.fixture
def undrawn(drawn, tmp_path):
    """The same run, as a job of a sweep would have left it."""
    folder = shutil.copytree(drawn, tmp_path / "run")
    shutil.rmtree(folder / "figures")
    return folder


def test_figures_drawn_later_are_those_of_the_run_s_end_byte_for_byte(drawn, undrawn):
    paths = draw_figures_of_finished(undrawn)
    expected = {path.name: path.read_bytes() for path in (drawn / "figures").iterdir()}
    assert {path.name: path.read_bytes() for path in paths.values()} == expected
    assert len(expected) == 5


def test_the_curves_are_those_of_the_csv_log(drawn):
    epochs, sealed = read_sealed_json(drawn / "curves.json")
    assert sealed
    rows = [row for row in read_rows(drawn / "logs" / "version_0" / "metrics.csv") if row["train/loss"]]
    assert [epoch["train/loss"] for epoch in epochs["epochs"]] == pytest.approx(
        [float(row["train/loss"]) for row in rows]
    )


def test_a_run_without_curves_is_drawn_from_its_csv_log(undrawn):
    (undrawn / "curves.json").unlink()
    before = draw_figures_of_finished(undrawn)["loss_curves"].read_bytes()
    shutil.rmtree(undrawn / "logs")
    assert draw_figures_of_finished(undrawn)["loss_curves"].read_bytes() != before  # which says that there are none


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("predictions.csv", "id,split\na,test\n", "predictions.csv: the predictions cannot be read"),
        ("curves.json", "{}", "curves.json: the curves cannot be read"),
        ("status.json", '{"state": "failed", "reason": "out of memory"}', r"no finished run .*out of memory"),
        ("metrics.json", "{", "no finished run .*metrics.json is missing"),
        ("multirun.yaml", "a: 1", None),
    ],
)
def test_a_run_that_cannot_be_drawn_is_refused_with_the_reason(undrawn, name, content, message):
    (undrawn / name).write_text(content)
    if message is None:
        (undrawn / "status.json").unlink()
        message = "it is the folder of a sweep, for which there is sweep="
    with pytest.raises(UserError, match=message):
        draw_figures_of_finished(undrawn)


@pytest.mark.parametrize(
    ("figures", "pictures", "alone", "in_a_sweep"),
    [
        ("auto", False, True, False),
        ("auto", True, True, True),
        ("always", False, True, True),
        ("never", True, False, False),
    ],
)
def test_jobs_of_sweeps_are_drawn_on_request_alone(figures, pictures, alone, in_a_sweep):
    config = compose_config(f"figures={figures}", f"logger.pictures={pictures}")
    assert config.figures is Figures(figures)
    assert (draws_figures(config, None), draws_figures(config, "a sweep")) == (alone, in_a_sweep)


def test_the_command_draws_a_run_and_says_where(undrawn):
    done = run("report", "run=run", cwd=undrawn.parent)
    assert done.returncode == 0, done.stderr
    assert "run/figures" in done.stderr
    assert (undrawn / "figures" / "ranking.png").exists()
    done = run("report", cwd=undrawn.parent)
    assert (done.returncode, done.stderr) == (
        1,
        "Give sweep=DIR, the folder of a sweep, or run=DIR, the folder of one run.\n",
    )
