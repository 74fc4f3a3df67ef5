"""Loggers: one W&B run per job with its true exit status, and CSV rows that a resumed run keeps."""

import csv
import json
import logging
import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from safe_exp.config import LoggerConfig, plain_config
from safe_exp.runs.loggers import (
    LoggerKind,
    check_loggers,
    close_loggers,
    log_results,
    loggers,
    open_loggers,
    require_known_loggers,
)
from safe_exp.runs.loggers._opened import OpenLogger
from safe_exp.runs.loggers.wandb import _wandb_mode, has_account
from safe_exp.runs.settings import require_same_settings
from safe_exp.sweep.planned import grid_jobs
from safe_exp.system.errors import UserError
from tests.commands import SMALL, run
from tests.made import compose_config
from tests.wandb_file import read_finished_run

BOTH = LoggerConfig(csv=True, wandb=True, project="safe_exp")
ONLY_WANDB = LoggerConfig(csv=False, wandb=True, project="safe_exp")
WITH_PICTURES = LoggerConfig(csv=False, wandb=True, project="safe_exp", pictures=True)
CONFIG = {"model": {"alpha": 0.4, "filter_sizes": [3, 4]}, "seed": 1}
ARTICLES = [
    {"id": "a1", "label": 1, "probability": 0.9, "similarity": 0.2, "verdict": "fake"},
    {"id": "a2", "label": 0, "probability": 0.3, "similarity": None, "verdict": "real"},
]


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """Take away all settings of W&B, as on a machine where it was never set up."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def offline_files(folder):
    return sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))


def run_job(folder, name, exit_code, loss):
    opened = open_loggers(ONLY_WANDB, folder, name, "sweep-7", CONFIG)
    for step in range(2):
        opened[0].log_metrics({"train/loss": loss / (step + 1)}, step)
    close_loggers(opened, exit_code)


def test_an_offline_run_holds_config_history_summary_and_exit_code(tmp_path, caplog, capfd):
    caplog.set_level(logging.INFO, logger="safe_exp")
    environment = environment_of_ours()
    Image.new("RGB", (8, 6)).save(tmp_path / "roc.png")
    opened = open_loggers(WITH_PICTURES, tmp_path, "model.alpha=0.4", "sweep-7", CONFIG)
    for step, loss in enumerate((0.7, 0.5)):
        opened[0].log_metrics({"train/loss": loss, "epoch": step}, step)
    log_results(opened, {"roc": tmp_path / "roc.png"}, ARTICLES)
    close_loggers(opened, 0)

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
        opened = open_loggers(config, tmp_path, "name", None, CONFIG)
        opened[0].log_metrics({"train/loss": loss}, 0)
        close_loggers(opened, 0)
    files = sorted((tmp_path / "logs").glob("*/metrics.csv"))
    assert [next(csv.DictReader(file.open()))["train/loss"] for file in files] == ["0.7", "0.5"]


def test_disabled_wandb_leaves_nothing_and_is_not_imported(tmp_path):
    code = (
        "import sys, pathlib, safe_exp.runs.loggers as t; from safe_exp.config import LoggerConfig\n"
        "config = LoggerConfig(csv=False, wandb=True, project='p')\n"
        "opened = t.open_loggers(config, pathlib.Path(sys.argv[1]), 'name', None, {})\n"
        "t.log_results(opened, {}, []); t.close_loggers(opened, 0); print(opened, 'wandb' in sys.modules)"
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
    opened = open_loggers(BOTH, tmp_path, "name", None, CONFIG)
    assert [type(logger.logger).__name__ for logger in opened] == ["CSVLogger"]
    assert "goes on without" in caplog.text


def test_a_wandb_that_dies_in_mid_run_is_reported_once(caplog):
    def dead(*arguments, **named):
        raise ConnectionResetError("the service is gone")

    service = SimpleNamespace(log=dead, finish=dead)
    logger = OpenLogger(loggers["wandb"], WandbLogger(experiment=service, project="p"))
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
    assert has_account(wandb_settings(base_url="https://wandb.lab.example"))
    assert not has_account(wandb_settings())
    (tmp_path / "netrc").write_text("not a netrc file {")
    assert not has_account(wandb_settings(base_url="https://wandb.lab.example"))


class Recorder(Logger):
    """A logger that remembers each call, and raises in the one named `fails` and in all that follow."""

    name, version = "recorder", None

    def __init__(self, fails: str | None = None) -> None:
        super().__init__()
        self.fails, self.failed, self.calls = fails, False, []

    def called(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        self.failed |= name == self.fails
        if self.failed:
            raise ConnectionResetError(f"{name}: no route to host")

    @property
    def save_dir(self) -> str:
        self.called("save_dir")
        return "here"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.called("log_metrics", metrics, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.called("log_hyperparams", params)

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        self.called("log_graph")

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self.called("after_save_checkpoint")

    def save(self) -> None:
        self.called("save")

    def finalize(self, status: str) -> None:
        self.called("finalize", status)


class Recorded(LoggerKind):
    """A kind that opens a Recorder and keeps the arguments of `open` in `told`."""

    name = "recorder"

    def __init__(self, required: bool = False) -> None:
        self.required, self.told = required, None

    def check(self, settings: Any) -> None:
        if "fails" in settings and settings["fails"] not in dir(Recorder):
            raise UserError(f"logger.more.recorder.fails={settings['fails']}: expected the name of a method.")

    def open(self, settings: Any, run: Any) -> Recorder:
        self.told = settings, run
        return Recorder(**settings)

    def log_results(self, logger: Recorder, figures: Any, predictions: Any) -> None:
        logger.called("log_results", figures, predictions)

    def close(self, logger: Recorder, exit_code: int) -> None:
        logger.called("close", exit_code)


def with_more(more: dict[str, Any]) -> LoggerConfig:
    return LoggerConfig(csv=False, wandb=False, project="p", more=more)


@pytest.fixture
def recorded(monkeypatch):
    """A kind of logger that is registered for one test."""
    monkeypatch.setattr(loggers, "_entries", dict(loggers._entries))
    return loggers.add(Recorded())


def test_a_further_logger_is_opened_by_name_with_its_settings_and_told_of_the_run(recorded, tmp_path):
    (opened,) = open_loggers(with_more({"recorder": {"fails": None}}), tmp_path, "seed=1", "sweep-7", CONFIG)
    settings, told = recorded.told
    assert settings == {"fails": None}
    assert (told.folder, told.name, told.group, told.config) == (tmp_path.resolve(), "seed=1", "sweep-7", CONFIG)
    opened.log_hyperparams({"alpha": 0.4})
    opened.log_metrics({"train/loss": 0.5}, 3)
    log_results([opened], {"roc": tmp_path / "roc.png"}, ARTICLES)
    close_loggers([opened], 1)
    assert opened.logger.calls == [
        ("log_hyperparams", {"alpha": 0.4}),
        ("log_metrics", {"train/loss": 0.5}, 3),
        ("log_results", {"roc": tmp_path / "roc.png"}, ARTICLES),
        ("close", 1),
    ]


CALLS = ["log_metrics", "log_hyperparams", "log_graph", "after_save_checkpoint", "save", "finalize", "save_dir",
         "log_results", "close"]  # fmt: skip


def call_all(opened: OpenLogger) -> None:
    opened.log_hyperparams({})
    opened.log_graph(None)
    opened.log_metrics({"train/loss": 0.5}, 0)
    opened.save()
    opened.after_save_checkpoint(None)
    assert opened.save_dir in ("here", None)
    opened.log_results({}, [])
    opened.finalize("success")
    opened.close(0)


@pytest.mark.parametrize("fails", CALLS)
def test_a_logger_that_fails_is_reported_once_and_asked_for_nothing_more(fails, recorded, tmp_path, caplog):
    (opened,) = open_loggers(with_more({"recorder": {"fails": fails}}), tmp_path, "name", None, CONFIG)
    call_all(opened)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("recorder could not ")
    assert f"({fails}: no route to host); the run goes on without it." in warning
    assert opened.logger.calls[-1][0] == fails


@pytest.mark.parametrize("fails", CALLS)
def test_a_fault_of_a_logger_that_is_required_ends_the_run(fails, recorded, tmp_path):
    recorded.required = True
    (opened,) = open_loggers(with_more({"recorder": {"fails": fails}}), tmp_path, "name", None, CONFIG)
    with pytest.raises(ConnectionResetError, match=fails):
        call_all(opened)


def test_a_logger_that_cannot_be_opened_costs_a_warning_unless_it_is_required(recorded, tmp_path, caplog):
    config = with_more({"recorder": {"colour": "red"}})
    assert open_loggers(config, tmp_path, "name", None, CONFIG) == []
    assert "recorder could not be started (" in caplog.text
    assert "'colour'); the run goes on without it." in caplog.text
    recorded.required = True
    with pytest.raises(TypeError, match="colour"):
        open_loggers(config, tmp_path, "name", None, CONFIG)


def test_the_csv_files_are_required_and_wandb_is_not():
    assert loggers["csv"].required
    assert not loggers["wandb"].required


def test_lightning_trains_to_the_end_with_a_logger_that_fails(recorded, tmp_path, caplog):
    config = LoggerConfig(csv=True, wandb=False, project="p", more={"recorder": {"fails": "log_metrics"}})
    opened = open_loggers(config, tmp_path, "name", None, CONFIG)
    trainer = pl.Trainer(
        max_epochs=2, limit_train_batches=2, limit_val_batches=1, accelerator="cpu", log_every_n_steps=1, logger=opened,
        default_root_dir=tmp_path, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    model = BoringModel()
    model.on_train_epoch_end = lambda: [each.log_metrics({"loss": 1.0}, 0) for each in opened]
    trainer.fit(model)
    close_loggers(opened, 0)
    assert trainer.current_epoch == 2
    assert caplog.text.count("recorder could not") == 1
    assert len(list(csv.DictReader((tmp_path / "logs" / "version_0" / "metrics.csv").open()))) == 2


def test_profilers_write_beside_the_csv_files(tmp_path):
    for config, folder in ((BOTH, tmp_path / "logs" / "version_0"), (ONLY_WANDB, tmp_path)):
        opened = open_loggers(config, tmp_path, "name", None, CONFIG)
        trainer = pl.Trainer(accelerator="cpu", logger=opened, default_root_dir=tmp_path, enable_progress_bar=False)
        assert trainer.log_dir == str(folder.resolve())
        close_loggers(opened, 0)


def test_an_unknown_logger_is_refused_with_the_names_that_there_are_and_without_importing_one(tmp_path):
    with pytest.raises(UserError, match=r"logger\.more=tensorbord: expected one of .*\bcsv,.* wandb\b"):
        require_known_loggers(with_more({"tensorbord": {}}))
    code = (
        "import sys, safe_exp.runs.loggers as t; from safe_exp.config import LoggerConfig\n"
        "t.require_known_loggers(LoggerConfig(csv=True, wandb=True, project='p'))\n"
        "assert not {'pytorch_lightning', 'torch', 'wandb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), ("-m", "seed=0,1", "hydra/launcher=stacked")])
def test_an_unknown_logger_is_refused_before_anything_is_prepared(launcher, tmp_path):
    done = run("train", *launcher, *SMALL, "+logger.more.tensorbord={}", cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(r"logger\.more=tensorbord: expected one of .*\bcsv,.* wandb\b", done.stderr)
    assert not list(tmp_path.glob("**/artifacts"))
    assert not (tmp_path / "data").exists()


def test_a_logger_checks_its_settings_before_it_is_opened(recorded):
    check_loggers(with_more({"recorder": {"fails": "save"}}))
    with pytest.raises(UserError, match=r"logger\.more\.recorder\.fails=everything: expected the name of a method\."):
        check_loggers(with_more({"recorder": {"fails": "everything"}}))
    assert recorded.told is None


def test_settings_of_a_further_logger_that_are_none_are_refused():
    with pytest.raises(UserError, match=r"logger\.more\.tensorboard=3: expected the logger's settings; {} where"):
        compose_config("+logger.more.tensorboard=3")
    assert compose_config("+logger.more.tensorboard={}").logger.more == {"tensorboard": {}}


def test_a_run_stored_before_there_were_further_loggers_is_resumed():
    now = plain_config(compose_config())
    stored = {**now, "logger": {key: now["logger"][key] for key in ("csv", "wandb", "project")}}
    assert "more" in now["logger"]
    require_same_settings("resume=x", "run", stored, now)


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


EARLIER = {  # what each option of conf/logger/ held while it set both keys
    "default": {"csv": True, "wandb": True, "project": "safe_exp"},
    "csv": {"csv": True, "wandb": False, "project": "safe_exp"},
    "wandb": {"csv": False, "wandb": True, "project": "safe_exp"},
    "none": {"csv": False, "wandb": False, "project": "safe_exp"},
}


@pytest.mark.parametrize("option", EARLIER)
def test_each_option_means_what_it_meant_and_its_runs_are_resumed(option):
    now = plain_config(compose_config(f"logger={option}"))
    assert {key: now["logger"][key] for key in EARLIER[option]} == EARLIER[option]
    require_same_settings("resume=x", "run", {**now, "logger": EARLIER[option]}, now)


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ("[csv,wandb]", ["csv", "wandb"]),
        ("[csv,tensorboard,mlflow]", ["csv", "tensorboard", "mlflow"]),
        ("[mlflow,csv]", ["csv", "mlflow"]),
        ("[]", []),
    ],
)
def test_several_options_are_composed_together(options, chosen):
    assert list(compose_config(f"logger={options}").logger.chosen) == chosen


def test_several_options_in_brackets_are_one_value_of_a_sweep():
    (override,) = OverridesParser.create().parse_overrides(["logger=[csv,wandb]"])
    assert not override.is_sweep_override()
    assert grid_jobs([override]) == [["logger=[csv,wandb]"]]


def test_the_keys_of_wandb_reach_it_and_are_unset_by_default():
    names = ("entity", "tags", "notes", "job_type", "pictures")
    assert [compose_config().logger.chosen["wandb"][name] for name in names] == [None, None, None, None, False]
    given = compose_config(
        "logger.entity=lab", "logger.tags=[pilot,gossipcop]", "logger.notes='first try'", "logger.job_type=train",
        "logger.pictures=true",
    ).logger.chosen["wandb"]  # fmt: skip
    assert given == {
        "project": "safe_exp", "entity": "lab", "tags": ["pilot", "gossipcop"], "notes": "first try",
        "job_type": "train", "pictures": True,
    }  # fmt: skip
    assert type(given["tags"]) is list


def test_a_missing_package_is_refused_with_the_command_that_installs_it(recorded):
    recorded.package = "no_such_package"
    with pytest.raises(UserError, match=r'logger=recorder needs the package no_such_package.*"safe-exp\[recorder\]"'):
        check_loggers(with_more({"recorder": {}}))
