"""Loggers: one W&B run per job with its true exit status, and CSV rows that a resumed run keeps."""

import csv
import json
import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from PIL import Image
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from safe_exp.config import LoggerConfig
from safe_exp.runs.loggers import (
    SteadyWandbLogger,
    _has_account,
    _wandb_mode,
    close_loggers,
    log_results,
    open_loggers,
)
from tests.wandb_file import read_finished_run

BOTH = LoggerConfig(csv=True, wandb=True, project="safe_exp")
ONLY_WANDB = LoggerConfig(csv=False, wandb=True, project="safe_exp")
CONFIG = {"model": {"alpha": 0.4, "filter_sizes": [3, 4]}, "seed": 1}
ARTICLES = [
    {"id": "a1", "label": 1, "probability": 0.9, "similarity": 0.2, "verdict": "fake"},
    {"id": "a2", "label": 0, "probability": 0.3, "similarity": None, "verdict": "real"},
]


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """As on a machine where W&B was never set up."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def offline_files(folder):
    return sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))


def run_job(folder, name, exit_code, loss):
    loggers = open_loggers(ONLY_WANDB, folder, name, "sweep-7", CONFIG)
    for step in range(2):
        loggers[0].log_metrics({"train/loss": loss / (step + 1)}, step)
    close_loggers(loggers, exit_code)


def test_an_offline_run_holds_config_history_summary_and_exit_code(tmp_path, caplog, capfd):
    caplog.set_level(logging.INFO, logger="safe_exp")
    environment = environment_of_ours()
    Image.new("RGB", (8, 6)).save(tmp_path / "roc.png")
    loggers = open_loggers(ONLY_WANDB, tmp_path, "model.alpha=0.4", "sweep-7", CONFIG)
    for step, loss in enumerate((0.7, 0.5)):
        loggers[0].log_metrics({"train/loss": loss, "epoch": step}, step)
    log_results(loggers, {"roc": tmp_path / "roc.png"}, ARTICLES)
    close_loggers(loggers, 0)

    (file,) = offline_files(tmp_path)
    run = read_finished_run(file)
    assert (run.name, run.group, run.project, run.exit_code) == ("model.alpha=0.4", "sweep-7", "safe_exp", 0)
    assert {key: run.config[key] for key in CONFIG} == CONFIG
    rows = [(row["trainer/global_step"], row["train/loss"]) for row in run.history if "train/loss" in row]
    assert rows == [(0, 0.7), (1, 0.5)]
    assert run.summary["train/loss"] == 0.5
    assert any(key.startswith("figures/roc") for key in run.summary)
    (table,) = file.parent.glob("files/media/table/**/*.table.json")
    table = json.loads(table.read_text())
    assert table["columns"] == ["id", "label", "probability", "similarity", "verdict"]
    assert table["data"] == [list(article.values()) for article in ARTICLES]

    where = [record.getMessage() for record in caplog.records if "W&B" in record.getMessage()]
    assert len(where) == 1
    assert "wandb sync" in where[0]
    assert str(tmp_path) in where[0]
    assert "wandb:" not in "".join(capfd.readouterr())  # W&B's own chatter
    assert environment_of_ours() == environment


def test_jobs_in_one_process_are_runs_of_their_own_with_their_own_exit_codes(tmp_path):
    run_job(tmp_path / "0", "seed=0", exit_code=0, loss=1.0)
    run_job(tmp_path / "1", "seed=1", exit_code=1, loss=2.0)
    runs = [read_finished_run(offline_files(tmp_path / job)[0]) for job in "01"]
    assert [run.name for run in runs] == ["seed=0", "seed=1"]
    assert [run.exit_code for run in runs] == [0, 1]
    assert [run.history[0]["train/loss"] for run in runs] == [1.0, 2.0]
    assert runs[0].id != runs[1].id


def test_a_job_that_left_its_run_open_does_not_swallow_the_next_one(tmp_path):
    left_open = open_loggers(ONLY_WANDB, tmp_path / "0", "seed=0", None, CONFIG)
    run_job(tmp_path / "1", "seed=1", exit_code=0, loss=2.0)
    close_loggers(left_open, 1)
    assert read_finished_run(offline_files(tmp_path / "1")[0]).history[0]["train/loss"] == 2.0
    assert read_finished_run(offline_files(tmp_path / "0")[0]).history == []


def test_a_resumed_run_adds_a_part_to_the_same_wandb_run(tmp_path):
    run_job(tmp_path, "seed=0", exit_code=130, loss=1.0)
    run_job(tmp_path, "seed=0", exit_code=0, loss=0.5)
    parts = [read_finished_run(file) for file in offline_files(tmp_path)]
    assert len(parts) == 2
    assert parts[0].id == parts[1].id
    assert parts[1].resumed  # `wandb sync` then appends it
    assert sorted(part.exit_code for part in parts) == [0, 130]


def test_a_resumed_run_keeps_the_csv_rows_of_the_first_part(tmp_path):
    config = LoggerConfig(csv=True, wandb=False, project="p")
    for loss in (0.7, 0.5):
        loggers = open_loggers(config, tmp_path, "name", None, CONFIG)
        loggers[0].log_metrics({"train/loss": loss}, 0)
        close_loggers(loggers, 0)
    files = sorted((tmp_path / "logs").glob("*/metrics.csv"))
    assert [next(csv.DictReader(file.open()))["train/loss"] for file in files] == ["0.7", "0.5"]


def test_disabled_wandb_leaves_nothing_and_is_not_imported(tmp_path):
    code = (
        "import sys, pathlib, safe_exp.runs.loggers as t; from safe_exp.config import LoggerConfig\n"
        "config = LoggerConfig(csv=False, wandb=True, project='p')\n"
        "loggers = t.open_loggers(config, pathlib.Path(sys.argv[1]), 'name', None, {})\n"
        "t.log_results(loggers, {}, []); t.close_loggers(loggers, 0); print(loggers, 'wandb' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = {**os.environ, "WANDB_MODE": "disabled"}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["[]", "False"]
    assert not (tmp_path / "wandb").exists()


def test_without_network_a_run_with_a_key_is_recorded_offline_with_one_warning(tmp_path, monkeypatch, caplog):
    import wandb

    def refuses_when_online(*, mode, real=wandb.init, **arguments):
        if mode == "online":
            raise wandb.errors.CommError("no route to host")
        return real(mode=mode, **arguments)

    monkeypatch.setattr(wandb, "init", refuses_when_online)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    run_job(tmp_path, "seed=0", exit_code=0, loss=1.0)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "no route to host" in warning
    assert "offline" in warning
    assert read_finished_run(offline_files(tmp_path)[0]).exit_code == 0


def test_a_wandb_that_cannot_start_costs_a_warning_and_not_the_run(tmp_path, monkeypatch, caplog):
    import wandb

    monkeypatch.setattr(wandb, "init", lambda **arguments: 1 / 0)
    loggers = open_loggers(BOTH, tmp_path, "name", None, CONFIG)
    assert [type(logger).__name__ for logger in loggers] == ["CSVLogger"]
    assert "goes on without" in caplog.text


def test_a_wandb_that_dies_in_mid_run_is_reported_once(caplog):
    def dead(*arguments, **named):
        raise ConnectionResetError("the service is gone")

    logger = SteadyWandbLogger(experiment=SimpleNamespace(log=dead, finish=dead), project="p")
    for step in range(3):
        logger.log_metrics({"train/loss": 1.0}, step)
    log_results([logger], {}, ARTICLES)
    close_loggers([logger], 0)
    assert caplog.text.count("the service is gone") == 1


@pytest.mark.parametrize(
    ("variable", "stored", "key", "expected"),
    [
        (None, "online", False, "offline"),
        (None, "online", True, "online"),
        (None, "offline", True, "offline"),  # `wandb offline`
        ("offline", "online", True, "offline"),
        ("online", "online", True, "online"),
        ("online", "online", False, "offline"),  # W&B itself would prompt or stop
    ],
)
def test_the_mode_follows_the_user_and_then_the_account(variable, stored, key, expected, monkeypatch):
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    if key:
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert _wandb_mode(wandb_settings(mode=stored)) == expected


def test_a_netrc_entry_counts_for_its_own_server_only(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine wandb.lab.example login user password " + "0" * 40 + "\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert _has_account(wandb_settings(base_url="https://wandb.lab.example"))
    assert not _has_account(wandb_settings())
    (tmp_path / "netrc").write_text("not a netrc file {")
    assert not _has_account(wandb_settings(base_url="https://wandb.lab.example"))


def test_only_the_first_process_opens_loggers(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert open_loggers(BOTH, tmp_path, "name", None, CONFIG) == []
    assert not list(tmp_path.iterdir())


def environment_of_ours() -> dict[str, str]:
    # WANDB_SERVICE is W&B's own doing: how child processes find its service.
    return {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}


def wandb_settings(**values):
    import wandb

    return wandb.Settings(**values)
