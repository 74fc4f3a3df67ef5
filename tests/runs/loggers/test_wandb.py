"""W&B live: each job is a run on a server, and a server that fails costs a warning and never the job."""

import logging
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from safe_exp.config import CONF, LoggerConfig, ReportConfig
from safe_exp.reporting.build import report
from safe_exp.runs.loggers import check_loggers, close_loggers, log_results, open_loggers
from safe_exp.scoring.charts import ChartTable
from safe_exp.system.errors import UserError
from tests.commands import SMALL, environment, read_json, read_rows, run
from tests.wandb_dashboard import dashboard_text
from tests.wandb_file import read_finished_run
from tests.wandb_server import CRASHED_AFTER_SECONDS, ENTITY, WandbServer

CONFIG = {"model": {"alpha": 0.4, "filter_sizes": [3, 4]}, "seed": 1}
ARTICLES = [
    {"id": "a1", "label": 1, "probability": 0.9, "similarity": 0.2, "verdict": 1},
    {"id": "a2", "label": 0, "probability": 0.3, "similarity": None, "verdict": 0},
]
CONFUSION = {"confusion": ChartTable(("truth", "verdict", "articles"), [["fake", "fake", 3], ["fake", "real", 1]])}


def live(**settings):
    return LoggerConfig(csv=False, wandb=True, project="safe_exp", **settings)


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server that W&B's settings of this process lead to."""
    import wandb

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    server = WandbServer()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    wandb.teardown()  # its service reads the variables once
    yield server
    server.close()
    wandb.teardown()
    assert server.unknown == []


def log_job(folder, exit_code, epochs=range(2), name="seed=1", group="sweep-7"):
    opened = open_loggers(live(), folder, name, group, CONFIG)
    for epoch in epochs:
        opened[0].log_metrics({"train/loss": 1 / (epoch + 1), "epoch": epoch}, epoch)
    close_loggers(opened, exit_code)


def losses(run):
    return [(row["trainer/global_step"], row["train/loss"]) for row in run.history if "train/loss" in row]


def warnings(caplog):
    ours = [record for record in caplog.records if record.name.startswith("safe_exp")]
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]


def test_a_live_run_shows_its_names_config_history_tables_and_end(server, tmp_path, capfd, caplog):
    caplog.set_level(logging.INFO, logger="safe_exp")
    Image.new("RGB", (8, 6)).save(tmp_path / "ranking.png")
    config = live(entity=ENTITY, tags=["paper", "α"], notes="first try", job_type="train")
    opened = open_loggers(config, tmp_path / "job", "model.alpha=0.4", "sweep-7", CONFIG)
    for epoch, loss in enumerate((0.7, 0.5)):
        opened[0].log_metrics({"train/loss": loss, "epoch": epoch}, epoch)
    log_results(opened, {"ranking": tmp_path / "ranking.png"}, ARTICLES, CONFUSION)
    close_loggers(opened, 0)

    (shown,) = server.runs.values()
    assert (shown.name, shown.group, shown.project, shown.state) == (
        "model.alpha=0.4",
        "sweep-7",
        "safe_exp",
        "finished",
    )
    asked = ("entity", "tags", "notes", "jobType")
    assert [shown.fields[name] for name in asked] == [ENTITY, ["paper", "α"], "first try", "train"]
    assert shown.config == CONFIG
    assert losses(shown) == [(0, 0.7), (1, 0.5)]
    assert shown.summary["train/loss"] == 0.5
    assert shown.table("test/articles")["data"] == [list(article.values()) for article in ARTICLES]
    assert shown.chart_table("test/confusion") == {
        "columns": ["truth", "verdict", "articles"],
        "data": [["fake", "fake", 3], ["fake", "real", 1]],
    }
    assert {artifact["state"] for artifact in server.artifacts} == {"COMMITTED"}
    assert not [name for name in shown.files if name.endswith(".png")]
    (where,) = [record.getMessage() for record in caplog.records if record.name.startswith("safe_exp")]
    assert where == f"W&B: {server.url}/{ENTITY}/safe_exp/runs/{shown.id}"
    assert "wandb:" not in "".join(capfd.readouterr())  # W&B's own chatter


def test_pictures_are_sent_where_they_are_asked_for(server, tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "ranking.png")
    opened = open_loggers(live(pictures=True), tmp_path / "job", "name", None, CONFIG)
    log_results(opened, {"ranking": tmp_path / "ranking.png"}, ARTICLES)
    close_loggers(opened, 0)
    (shown,) = server.runs.values()
    (picture,) = [content for name, content in shown.files.items() if name.endswith(".png")]
    assert picture == (tmp_path / "ranking.png").read_bytes()
    assert shown.summary["figures/ranking"]["_type"] == "image-file"


def test_a_failed_job_is_failed_and_a_resumed_one_goes_on_in_the_same_run(server, tmp_path):
    log_job(tmp_path, exit_code=1, epochs=range(2))
    (shown,) = server.runs.values()
    assert (shown.state, shown.exit_code) == ("failed", 1)
    log_job(tmp_path, exit_code=0, epochs=range(2, 4))
    assert list(server.runs.values()) == [shown]
    assert (shown.state, shown.starts) == ("finished", 2)
    assert losses(shown) == [(0, 1.0), (1, 1 / 2), (2, 1 / 3), (3, 1 / 4)]
    assert shown.summary["epoch"] == 3


def test_a_tag_or_type_that_wandb_refuses_is_refused_before_anything_is_read():
    with pytest.raises(UserError, match=r"logger\.job_type=t+: W&B takes 64 characters at most"):
        check_loggers(live(job_type="t" * 65))
    check_loggers(live(tags=["t" * 64]))
    for tag in ("", "t" * 65):
        with pytest.raises(
            UserError, match=rf"logger\.tags: the tag '{tag}' has {len(tag)} characters; W&B takes 1 to 64"
        ):
            check_loggers(live(tags=["short", tag]))


def test_the_stop_button_of_the_dashboard_interrupts_the_job(server, tmp_path, monkeypatch):
    stopping = pytest.importorskip("wandb.sdk.lib.run_stopping")
    monkeypatch.setitem(stopping.RunStopChecker.__init__.__kwdefaults__, "poll_interval", 0.2)  # seconds; else 15
    monkeypatch.setenv("WANDB__FILE_STREAM_TRANSMIT_INTERVAL", "1")  # whole seconds between two sendings; else 15
    opened = open_loggers(live(), tmp_path, "name", None, CONFIG)
    for shown in server.runs.values():
        shown.stop = True
    opened[0].log_metrics({"train/loss": 1.0}, 0)
    with pytest.raises(KeyboardInterrupt):
        wait_for(lambda: False, seconds=60)
    close_loggers(opened, 130)
    assert shown.exit_code == 130


def test_a_long_name_is_shortened_to_its_end_since_wandb_would_refuse_it(server, tmp_path):
    name, group = "data.articles=60 " * 8 + "model.alpha=0.2", f"{'x' * 100}-{'y' * 100}"
    log_job(tmp_path, exit_code=0, name=name, group=group)
    (shown,) = server.runs.values()
    assert len(shown.name) == len(shown.group) == 128
    assert shown.group.endswith("x-" + "y" * 100)
    assert shown.name.startswith("...")
    assert shown.name.endswith("data.articles=60 model.alpha=0.2")


@pytest.mark.slow
def test_of_a_killed_job_the_server_keeps_the_history_and_the_resumed_job_goes_on_in_it(server, tmp_path):
    code = (
        "import pathlib, sys, time\n"
        "from safe_exp.config import LoggerConfig\n"
        "from safe_exp.runs.loggers import open_loggers\n"
        "config = LoggerConfig(csv=False, wandb=True, project='safe_exp')\n"
        "(logger,) = open_loggers(config, pathlib.Path(sys.argv[1]), 'name', None, {})\n"
        "for step in range(2): logger.log_metrics({'train/loss': 1.0}, step)\n"
        "time.sleep(300)\n"
    )
    variables = {**server.environment, "WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "1"}
    job = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment(**variables))
    wait_for(lambda: any(len(shown.history) == 2 for shown in server.runs.values()))
    job.kill()  # SIGKILL
    job.wait()
    (shown,) = server.runs.values()
    assert (shown.exit_code, shown.state) == (None, "running")
    shown.last_seen -= CRASHED_AFTER_SECONDS  # as if that much time had passed
    assert shown.state == "crashed"
    log_job(tmp_path, exit_code=0, epochs=range(2, 3))
    assert (list(server.runs), shown.state) == ([shown.id], "finished")
    assert [step for step, _ in losses(shown)] == [0, 1, 2]


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["error", "stall"])
def test_a_server_that_is_down_at_the_start_costs_one_warning_and_the_run_is_recorded_offline(
    fault, server, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    server.fault = fault
    log_job(tmp_path, exit_code=0)
    (warning,) = warnings(caplog)
    assert warning.startswith("W&B cannot be used online (")
    assert warning.endswith("; this run is recorded offline.")
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert read_finished_run(file).exit_code == 0
    assert not server.runs


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["error", "stall", "gone"])
def test_a_server_that_fails_in_the_middle_costs_warnings_and_the_rest_can_be_uploaded(
    fault, server, tmp_path, monkeypatch, caplog, capfd
):
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "1")
    monkeypatch.setattr("wandb.apis.public.Api._HTTP_TIMEOUT", 1)  # WANDB_HTTP_TIMEOUT, which is read at the import
    opened = open_loggers(live(), tmp_path, "name", None, CONFIG)
    opened[0].log_metrics({"train/loss": 1.0}, 0)
    if fault == "gone":
        server.close()
    else:
        server.fault = fault
    opened[0].log_metrics({"train/loss": 0.5}, 1)
    log_results(opened, {}, ARTICLES, CONFUSION)
    close_loggers(opened, 0)
    tables, rest = warnings(caplog)
    assert tables.startswith("W&B could not log the tables of the test articles (")
    assert rest.startswith("W&B did not take everything in time; to upload the rest: wandb sync --include-online ")
    assert "wandb:" not in "".join(capfd.readouterr())
    (shown,) = server.runs.values()
    assert shown.exit_code is None

    folder = rest.partition("--include-online ")[2]
    (file,) = tmp_path.glob("wandb/run-*/run-*.wandb")
    assert os.path.samefile(folder, file.parent)
    kept = read_finished_run(file)
    assert ([row["train/loss"] for row in kept.history], kept.exit_code) == ([1.0, 0.5], 0)
    if fault == "error":  # repaired: the command in the warning uploads the rest
        server.fault = None
        sync = [sys.executable, "-m", *shlex.split(rest.partition("the rest: ")[2])]
        subprocess.run(sync, env=environment(**server.environment), check=True, capture_output=True, timeout=120)
        assert (shown.state, [loss for _, loss in losses(shown)]) == ("finished", [1.0, 0.5])


def test_the_next_job_of_a_process_is_logged_after_one_whose_server_failed(server, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "1")
    server.fault = "error"
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    log_job(tmp_path / "0", exit_code=0)
    server.fault = None
    monkeypatch.delenv("WANDB_INIT_TIMEOUT")
    log_job(tmp_path / "1", exit_code=0)
    (shown,) = server.runs.values()
    assert (shown.state, len(losses(shown))) == ("finished", 2)
    assert (tmp_path / "1" / "wandb" / "run-id.txt").read_text().strip() == shown.id


@pytest.mark.slow
def test_a_sweep_is_a_table_of_runs_with_curves_and_charts_and_its_report_stands_in_the_same_group(server, tmp_path):
    overrides = ("model.alpha=0.2,1e38", "logger.tags=[tried]")
    done = run("train", "-m", *SMALL, *overrides, cwd=tmp_path, **server.environment)
    assert done.returncode == 1, done.stderr  # α = 1e38 diverges
    assert "became nan" in done.stderr
    (sweep,) = tmp_path.glob("multirun/*/*/")
    finished, failed = (server.runs[(sweep / job / "wandb" / "run-id.txt").read_text().strip()] for job in "01")
    assert (finished.state, failed.state) == ("finished", "failed")
    assert finished.fields["tags"] == ["tried"]
    assert failed.config["model"]["alpha"] == 1e38
    logged = [row for row in read_rows(sweep / "0" / "logs" / "version_0" / "metrics.csv") if row["val/auroc"]]
    shown = [row for row in finished.history if "val/auroc" in row]
    assert [row["epoch"] for row in shown[:2]] == [0, 1]  # a last row holds the best checkpoint's figures
    for key in ("epoch", "val/auroc", "val/loss", "val/loss_prediction"):
        np.testing.assert_allclose([row[key] for row in shown], [float(row[key]) for row in logged], rtol=1e-6)
    assert_charts_agree_with_scikit_learn(finished, sweep / "0")

    report(ReportConfig(str(sweep), "auroc", 0, True))
    text = dashboard_text(
        server, ("model.alpha",), ("test/auroc",), ("epoch", "train/loss", "val/loss_prediction", "val/auroc")
    )
    group = "-".join(sweep.parts[-2:])
    auroc = read_json(sweep / "0" / "metrics.json")["test"]["prediction"]["auroc"]
    table = [line.split() for line in text.splitlines()[:4]]
    assert table[0] == ["run", "state", "group", "model.alpha", "test/auroc"]
    assert [row[-4:] for row in table[1:]] == [
        ["finished", group, "0.2000", f"{auroc:.4f}"],
        ["failed", group, f"{1e38:.4f}", "-"],
        ["finished", group, "-", "-"],  # the report
    ]
    charts = [line.split(": chart ")[1].split(",")[0] for line in text.splitlines() if ": chart " in line]
    assert charts == ["test/confusion", "test/precision_recall", "test/reliability", "test/roc", "test/similarity"]
    assert "table-file test/articles" in text
    assert "table-file report/tables/conditions" in text


def assert_charts_agree_with_scikit_learn(shown, job):
    rows = [row for row in read_rows(job / "predictions.csv") if row["split"] == "test"]
    label, verdict = ([int(row[key]) for row in rows] for key in ("label", "verdict"))
    similarity = np.array([float(row["similarity"]) for row in rows])
    for name, scores in (("prediction", [float(row["probability"]) for row in rows]), ("similarity", 1 - similarity)):
        points = chart_points(shown, "test/roc", name)
        np.testing.assert_allclose(points, np.stack(roc_curve(label, scores)[:2], axis=1))
        drawn = chart_points(shown, "test/precision_recall", name)[::-1]
        precision, recall, _ = precision_recall_curve(label, scores)
        np.testing.assert_allclose(drawn[:-1], np.stack([recall, precision], axis=1)[:-1])
    counts = [row[2] for row in shown.chart_table("test/confusion")["data"]]
    assert counts == confusion_matrix(label, verdict, labels=[1, 0]).ravel().tolist()
    assert chart_points(shown, "test/reliability", "as trained")[:, 4].sum() == len(rows)
    for name, index in (("fake", 1), ("real", 0)):
        bins = chart_points(shown, "test/similarity", name)
        of_class = similarity[np.array(label) == index]
        assert bins[:, 2].sum() == len(of_class)
        assert np.average(bins[:, 0], weights=bins[:, 2]) == pytest.approx(of_class.mean(), abs=1 / 80)
    assert [row[0] for row in shown.table("test/articles")["data"]] == [row["id"] for row in rows]


def chart_points(shown, key, name):
    return np.array([row[1:] for row in shown.chart_table(key)["data"] if row[0] == name])


@pytest.mark.slow
def test_an_agent_of_wandb_runs_the_jobs_that_its_sweep_proposes(server, tmp_path):
    config = yaml.safe_load((CONF / "wandb_sweep.yaml").read_text(encoding="utf-8"))
    given = dict(argument.split("=") for argument in SMALL)
    config["parameters"] |= {key: {"value": yaml.safe_load(value)} for key, value in given.items()}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # the sweep's command begins with python
    variables = environment(**server.environment, **paths)

    def wandb_command(*arguments):
        command = [sys.executable, "-m", "wandb", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    said = wandb_command("sweep", "--project", "safe_exp", "sweep.yaml")
    (sweep,) = server.sweeps.values()
    assert f"wandb agent {ENTITY}/safe_exp/{sweep.id}" in said
    proposed = {"model.alpha": 0.6, "model.beta": 0.2, "model.gamma": 0.05, "logger": "wandb"}
    sweep.jobs = [proposed | {key: entry["value"] for key, entry in config["parameters"].items() if key in given}]
    wandb_command("agent", f"{ENTITY}/safe_exp/{sweep.id}")

    (shown,) = server.runs.values()
    assert (shown.id, shown.fields["sweep"], shown.state) == (*sweep.handed_out, sweep.id, "finished")
    assert [shown.config["model"][key] for key in ("alpha", "beta", "gamma")] == [0.6, 0.2, 0.05]
    assert config["metric"]["name"] in shown.summary  # by which W&B chooses the next values
    (folder,) = tmp_path.glob("outputs/*/*/")
    assert (folder / "wandb" / "run-id.txt").read_text().strip() == shown.id  # where resume=DIR will go on
