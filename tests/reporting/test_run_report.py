"""The report of one run: its page, its refusals, and figures that are those of the run's end."""

import json
import shutil

import pytest

from safe_exp.config import ReportConfig
from safe_exp.figures.files import FIGURES
from safe_exp.reporting.run_report import report_run, result_tables
from safe_exp.runs.job_outcome import read_job
from safe_exp.system.errors import UserError
from safe_exp.system.files import read_sealed_json
from tests.commands import SMALL, only_run, run
from tests.reporting.test_page import SCRIPT, Tags


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A single run, which has drawn its figures at its end."""
    folder = tmp_path_factory.mktemp("finished")
    assert run("train", *SMALL, "logger=csv", cwd=folder).returncode == 0
    return only_run(folder)


@pytest.fixture
def folder(finished, tmp_path):
    """The same run, as a job of a sweep would have left it: not drawn."""
    copied = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(copied / "figures")
    return copied


def test_the_figures_are_those_of_the_run_s_end_byte_for_byte(finished, folder):
    report_run(str(folder))
    expected = {path.name: path.read_bytes() for path in (finished / "figures").iterdir()}
    assert {path.name: path.read_bytes() for path in (folder / "figures").iterdir()} == expected
    assert sorted(expected) == sorted(f"{name}.png" for name in FIGURES)


def test_the_page_has_the_run_s_numbers_figures_and_settings(folder):
    page = report_run(str(folder))
    assert page == folder / "report.html"
    text = page.read_text(encoding="utf-8")
    tags = Tags(text)
    assert tags.text["title"] == f"Run {folder.parent.name}/run"
    targets = [a[key] for _, a in tags.found for key in ("src", "href") if a.get(key)]
    assert all(target.startswith(("data:", "#")) for target in targets)
    assert {a["id"] for a in tags.of("figure")} == {f"figure-{name}" for name in FIGURES}
    assert {f"#{a['id']}" for a in tags.of("section")} == {a["href"] for a in tags.of("a")}
    for given in SMALL:
        key, _, value = given.partition("=")
        assert f"<td>{key}</td><td>{value}</td>" in text
    assert "<td>data.drop_leaks</td>" in text  # a default


def test_the_tables_hold_metrics_json(finished):
    job = read_job(finished, 0, [])
    test, val = result_tables(job)
    rows = {row["figure"]: row for row in test.rows}
    auroc = rows["AUROC"]["prediction"]
    assert (auroc.mean, [auroc.low, auroc.high]) == (
        job.metrics["test"]["prediction"]["auroc"],
        job.metrics["test"]["intervals"]["prediction"]["auroc"],
    )
    assert rows["loss L_s ↓"]["similarity"].mean == job.metrics["test"]["loss_similarity"]
    assert {row["figure"] for row in val.rows} == rows.keys()
    numbers = [value for row in test.rows for value in row.values() if not isinstance(value, str) and value is not None]
    in_metrics = sum(len(job.metrics["test"][scorer]) for scorer in ("prediction", "similarity", "combined"))
    # The calibrated scorer's temperature is in the summary; three losses, three thresholds and the majority rate join.
    assert len(numbers) == in_metrics + len(job.metrics["test"]["calibrated"]) - 1 + 3 + 3 + 1


def test_text_of_the_run_is_never_markup(folder):
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps([f"data.root={SCRIPT}"]))
    text = report_run(str(folder)).read_text(encoding="utf-8")
    assert len(Tags(text).of("script")) == 1
    assert "&lt;x-e" in text


def test_an_older_run_keeps_the_losses_that_it_has_drawn_itself(folder, caplog):
    (folder / "curves.json").unlink()
    assert "loss_curves" in report_run(str(folder)).read_text(encoding="utf-8")  # from the CSV log
    assert not caplog.records or "neither" not in caplog.text
    losses = folder / "figures" / "loss_curves.png"
    shutil.rmtree(folder / "logs")
    losses.write_bytes(b"as the run drew them")
    caplog.set_level("INFO")
    assert 'id="figure-loss_curves"' in report_run(str(folder)).read_text(encoding="utf-8")
    assert losses.read_bytes() == b"as the run drew them"
    assert "loss_curves.png is the one of the run's end: the run has neither curves.json nor a CSV log" in caplog.text
    losses.unlink()
    assert 'id="figure-loss_curves"' not in report_run(str(folder)).read_text(encoding="utf-8")
    assert "The losses are not drawn: the run has neither curves.json" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("predictions.csv", "id,split\na,test\n", "predictions.csv: the predictions cannot be read"),
        ("curves.json", "{}", "curves.json: the curves cannot be read"),
        ("status.json", '{"state": "failed", "reason": "out of memory"}', r"has no results .*failed \(out of memory\)"),
        ("status.json", "{", "there is no run in this folder"),
        ("status.json", '{"state": "finished", "command": "x -m safe_exp.evaluate"}', "a folder of safe_exp.evaluate"),
        ("metrics.json", "{", "has no results to report: failed .*metrics.json is missing"),
        ("multirun.yaml", "a: 1", "this is the folder of a sweep. Its report: python -m safe_exp.report sweep="),
        ("report.html/file", "", "cannot be written to"),
    ],
)
def test_what_cannot_be_reported_is_refused_with_the_reason(folder, name, content, message):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=message):
        report_run(str(folder))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for given, message in (("nowhere", "there is no such folder"), ("file", "this is a file"), ("", "no run in this")):
        with pytest.raises(UserError, match=message):
            report_run(str(tmp_path / given))


def test_keys_of_a_sweep_s_report_are_refused_beside_run():
    with pytest.raises(UserError, match="wandb belongs to the report of a sweep, sweep=DIR"):
        ReportConfig(None, "auroc", 3, True, run="somewhere")


def test_the_limit_that_a_resume_has_raised_is_shown(folder):
    (folder / ".hydra" / "added.yaml").write_text("[trainer.max_epochs=7]")
    text = report_run(str(folder)).read_text(encoding="utf-8")
    assert text.count("<td>trainer.max_epochs</td><td>7</td>") == 2  # given, and in the whole config


def test_the_command_writes_the_page_and_nothing_else_beside_the_figures(folder):
    before = {path.name for path in folder.iterdir()}
    done = run("report", "run=run", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    assert "Open run/report.html" in done.stderr
    assert {path.name for path in folder.iterdir()} - before == {"figures", "report.html"}
    assert [path.name for path in folder.parent.iterdir()] == ["run"]
    assert read_sealed_json(folder / "metrics.json")[1]  # as it was
    done = run("report", cwd=folder.parent)
    assert (done.returncode, done.stderr) == (
        1,
        "Give sweep=DIR, the folder of a sweep, or run=DIR, the folder of one run.\n",
    )
