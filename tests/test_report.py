"""python -m safe_exp.report, from the command line to the page and to W&B."""

import os
import subprocess
import sys

import pytest
import yaml
from hydra import compose, initialize_config_dir

from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, ReportConfig, figure_names, typed_config
from safe_exp.reporting.build import report
from safe_exp.scoring import scores
from safe_exp.system.errors import UserError
from tests.commands import SMALL, run
from tests.made import compose_config
from tests.reporting.made_sweep import write_baseline, write_job, write_multirun
from tests.wandb_file import read_finished_run


def composed(*overrides):
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return typed_config(compose("report", overrides=list(overrides)))


def test_the_config_composes_and_needs_a_sweep():
    assert composed("folder=somewhere") == ReportConfig("somewhere", "auroc", 3, False, None)
    with pytest.raises(UserError, match="Give sweep=DIR, the folder of a sweep, or run=DIR"):
        composed()


@pytest.mark.parametrize(("override", "message"), [("cases=-1", "cases=-1: expected"), ("cases=99", "at most 25")])
def test_a_wrong_value_is_refused(override, message):
    with pytest.raises(UserError, match=message):
        composed("folder=somewhere", override)


def test_an_unknown_score_is_refused_with_those_that_there_are(tmp_path):
    write_job(tmp_path, 0, "seed=0")
    with pytest.raises(UserError, match=r"score=auc: .* only accuracy, auroc, .*similarity_auroc"):
        report(ReportConfig(str(tmp_path), "auc", 3, False))
    assert not (tmp_path / "report").exists()


def test_every_figure_has_a_name_in_words():
    assert set(scores.FIGURES) | {"loss", "loss_prediction", "loss_similarity"} == set(figure_names.DISPLAY_NAMES)
    assert figure_names.describe_score("similarity_auroc") == "AUROC of 1 - M_s"
    assert figure_names.describe_score("combined_f1") == "F1 of fake of M_p and M_s"
    assert figure_names.describe_score("calibrated_brier") == "Brier score, calibrated"
    for name in ("brier", "similarity_brier", "combined_ece", "calibrated_loss_prediction"):
        assert figure_names.lower_is_better(name)
    assert not figure_names.lower_is_better("combined_auroc")


def test_help_and_a_wrong_sweep_come_without_heavy_imports(tmp_path):
    check = (
        "import runpy, sys; sys.argv = ['report', '--help']; runpy.run_module('safe_exp.report', run_name='__main__');"
        "assert not {'torch', 'pytorch_lightning', 'wandb', 'matplotlib', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "sweep=DIR" in done.stdout


def test_a_report_needs_no_torch(tmp_path):
    write_job(tmp_path, 0, "seed=0")
    check = (
        "import sys; from safe_exp.config import ReportConfig; from safe_exp.reporting.build import report;"
        f"report(ReportConfig({str(tmp_path)!r}, 'auroc', 3, False));"
        "assert not {'torch', 'pytorch_lightning', 'wandb'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_says_what_won_where_the_page_is_and_leaves_nothing_else(tmp_path):
    write_multirun(tmp_path / "sweep", "model.alpha=0.2,0.4")
    for number, alpha in enumerate((0.2, 0.4)):
        write_job(tmp_path / "sweep", number, f"model.alpha={alpha}", val_loss=alpha)
    done = run("report", "sweep=sweep", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "α = 0.2 won: it has the lowest loss L_p" in done.stderr
    assert "Open sweep/report/index.html" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sweep"]
    assert "Warning" not in done.stderr


def test_baselines_stand_in_the_report_and_those_of_other_articles_are_named(tmp_path, caplog):
    write_job(tmp_path / "sweep", 0, "seed=0")
    write_baseline(tmp_path / "rivals", 0, "tfidf", auroc=0.875)
    write_baseline(tmp_path / "rivals", 1, "majority", articles=[("fake/x", 1, 0.5, None), ("real/y", 0, 0.5, None)])
    page = report(ReportConfig(str(tmp_path / "sweep"), "auroc", 0, False, str(tmp_path / "rivals")))
    assert "baseline: tfidf" in page.read_text(encoding="utf-8")
    assert "0.875" in (page.parent / "tables" / "rivals.md").read_text(encoding="utf-8")
    assert "1 of the 2 jobs of the baselines tested other articles than the sweep" in caplog.text


def test_no_sweep_is_one_clear_message(tmp_path):
    done = run("report", "sweep=nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert "sweep=nowhere: there is no such folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_report_made_again_takes_in_what_has_finished_since(tmp_path):
    write_multirun(tmp_path, "seed=0,1")
    write_job(tmp_path, 0, "seed=0")
    config = ReportConfig(str(tmp_path), "auroc", 3, False)
    assert "1 of 2 jobs finished; 1 missing." in report(config).read_text(encoding="utf-8")
    write_job(tmp_path, 1, "seed=1")
    assert "2 of 2 jobs finished." in report(config).read_text(encoding="utf-8")


def test_figures_of_an_earlier_report_do_not_stay_behind(tmp_path):
    for number, alpha in enumerate((0.2, 0.4)):
        write_job(tmp_path, number, f"model.alpha={alpha}")
    config = ReportConfig(str(tmp_path), "auroc", 0, False)
    report(config)
    figures = tmp_path / "report" / "figures"
    assert (figures / "alpha.png").exists()
    (figures / "mine.txt").touch()
    write_job(tmp_path, 1, "model.alpha=0.4", state="failed")
    report(config)
    assert sorted(path.name for path in figures.iterdir() if path.stem in ("alpha", "mine")) == ["mine.txt"]


def test_a_sweep_that_cannot_be_written_to_is_one_clear_message(tmp_path):
    write_job(tmp_path, 0, "seed=0")
    (tmp_path / "report").write_text("a file stands where the folder should be")
    with pytest.raises(UserError, match=r"the report cannot be written to .*report \(.*\)"):
        report(ReportConfig(str(tmp_path), "auroc", 0, False))


def test_the_report_is_a_wandb_run_of_its_own_in_the_sweep_s_group(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    sweep = tmp_path / "2026-11-24" / "08-28-12"
    for number, alpha in enumerate((0.2, 0.4)):
        write_job(sweep, number, f"model.alpha={alpha}", val_loss=alpha, auroc=0.75)
    report(ReportConfig(str(sweep), "auroc", 3, True))
    (file,) = sweep.glob("report/wandb/offline-run-*/run-*.wandb")
    recorded = read_finished_run(file)
    assert (recorded.name, recorded.group, recorded.project) == ("report", "2026-11-24-08-28-12", "safe_exp")
    assert recorded.exit_code == 0
    assert recorded.summary["report/test/auroc"] == 0.75
    assert recorded.summary["report/val/loss_prediction"] == 0.2
    assert recorded.summary["report/jobs/finished"] == 2
    assert "α = 0.2 won" in recorded.summary["report/text"]
    tables = {path.name.split("_")[0] for path in file.parent.glob("files/media/table/report/tables/*.json")}
    assert tables == {"conditions", "comparisons", "jobs"}


def test_wandb_s_own_sweep_gives_command_lines_that_train_takes():
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    sweep = yaml.safe_load((CONF / "wandb_sweep.yaml").read_text(encoding="utf-8"))
    assert sweep["metric"]["name"] == compose_config().callbacks.monitor
    assert sweep["command"][1:] == ["python", "-m", "safe_exp.train", "${args_no_hyphens}"]
    ends = [{name: side(values(given)) for name, given in sweep["parameters"].items()} for side in (min, max)]
    for proposed in ends:
        arguments = create_sweep_command_args({"args": {name: {"value": v} for name, v in proposed.items()}})
        config = compose_config(*arguments["args_no_hyphens"])
        assert config.model.gamma == proposed["model.gamma"]
        assert config.logger.wandb


def values(given):
    return given.get("values") or [given[key] for key in ("value", "min", "max") if key in given]


@pytest.mark.slow
def test_a_real_sweep_with_a_failing_job_is_reported(tmp_path):
    swept = ("model.alpha=0,0.5", "model.beta=0,0.5", "seed=0,1", "hydra.sweep.dir=sweep")
    run("train", "-m", *SMALL, *swept, cwd=tmp_path)
    done = run("report", "sweep=sweep", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "6 of 8 jobs finished; 2 failed." in done.stderr
    html = (tmp_path / "sweep" / "report" / "index.html").read_text(encoding="utf-8")
    assert "model.alpha and model.beta are both 0" in html
    assert html.count("data:image/jpeg") == 12  # three articles of each kind with their pictures
    assert (tmp_path / "sweep" / "report" / "figures" / "alpha_beta.svg").exists()
