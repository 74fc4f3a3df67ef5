"""MLflow runs, read back with MLflow's own client, from a store of files and over a server's REST interface."""

import json
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from PIL import Image

from safe_exp.config import LoggerConfig
from safe_exp.runs.loggers import check_loggers, close_loggers, log_results, open_loggers
from safe_exp.runs.loggers.mlflow import DEFAULTS
from safe_exp.system.errors import UserError

mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed (extra: mlflow)")

CONFIG = {"model": {"alpha": 0.4, "filter_sizes": [3, 4]}, "seed": 1, "threads": None}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """Take away what a user, or an earlier run of this process, has set."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in DEFAULTS:
        monkeypatch.setenv(name, "")  # so that it is restored after the test
        monkeypatch.delenv(name)


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "a sweep"
    folder.mkdir()
    (folder / "multirun.yaml").write_text("")
    return folder


def chosen(uri=None):
    return LoggerConfig(csv=False, wandb=False, project="lab", more={"mlflow": {"tracking_uri": uri}})


def log_a_run(folder, exit_code=0, uri=None, group="sweep-7", config=None, loss=0.5):
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6)).save(folder / "roc.png")
    (folder / "predictions.csv").write_text("id,label\na,1\n")
    opened = open_loggers(chosen(uri), folder, f"job {folder.name}", group, config or CONFIG)
    for logger in opened:
        logger.log_hyperparams({"of": "the module"})
        logger.log_metrics({"train/loss": loss, "epoch": 0}, 3)
        logger.finalize("success")  # as Lightning does after the training
        logger.log_metrics({"test/auroc": 0.75}, 4)
    log_results(opened, {"roc": folder / "roc.png"}, [])
    close_loggers(opened, exit_code)
    return opened


def read(store):
    """Read all runs of the experiment, by name."""
    client = mlflow.MlflowClient(store.as_uri())
    experiment = client.get_experiment_by_name("lab")
    runs = client.search_runs([experiment.experiment_id])
    return client, {run.info.run_name: run for run in runs}


def test_the_jobs_of_a_sweep_are_runs_of_one_store_with_their_own_exit_states(sweep):
    log_a_run(sweep / "0")
    log_a_run(sweep / "1", exit_code=1)
    client, runs = read(sweep / "mlruns")
    assert {name: run.info.status for name, run in runs.items()} == {"job 0": "FINISHED", "job 1": "FAILED"}
    run = runs["job 0"]
    assert run.data.tags["sweep"] == "sweep-7"
    assert run.data.params == {
        "model.alpha": "0.4",
        "model.filter_sizes": "[3, 4]",
        "seed": "1",
        "threads": "None",
    }
    assert run.data.metrics == {"train/loss": 0.5, "epoch": 0, "test/auroc": 0.75}
    assert [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, "train/loss")] == [(3, 0.5)]
    artifacts = client.list_artifacts(run.info.run_id) + client.list_artifacts(run.info.run_id, "figures")
    assert [each.path for each in artifacts] == ["figures", "predictions.csv", "figures/roc.png"]
    assert "MLFLOW_TRACKING_URI" not in os.environ  # else it would be the next job's address


def test_a_single_run_has_its_store_in_its_own_folder_and_no_sweep(tmp_path):
    log_a_run(tmp_path / "run", group=None)
    _, runs = read(tmp_path / "run" / "mlruns")
    assert "sweep" not in runs["job run"].data.tags


def test_a_resumed_run_goes_on_in_the_same_mlflow_run(sweep):
    log_a_run(sweep / "0", exit_code=1, loss=0.75)
    log_a_run(sweep / "0", config=CONFIG | {"seed": 2}, loss=0.5)  # MLflow refuses to change a parameter
    client, runs = read(sweep / "mlruns")
    (run,) = runs.values()
    assert (run.info.status, run.data.params["seed"]) == ("FINISHED", "1")
    assert [each.value for each in client.get_metric_history(run.info.run_id, "train/loss")] == [0.75, 0.5]


def test_a_run_that_is_resumed_with_another_store_starts_anew_there(sweep, tmp_path, monkeypatch):
    log_a_run(sweep / "0")
    other = tmp_path / "other"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other.as_uri())
    log_a_run(sweep / "0")
    assert len(read(sweep / "mlruns")[1]) == len(read(other)[1]) == 1


def test_an_address_in_the_config_goes_before_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "variable").as_uri())
    log_a_run(tmp_path / "run", uri=(tmp_path / "config").as_uri())
    assert len(read(tmp_path / "config")[1]) == 1
    assert not (tmp_path / "variable").exists()


def test_jobs_that_start_at_the_same_time_make_one_experiment(sweep):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log_a_run(sweep / str(number)), range(8)))
    client, runs = read(sweep / "mlruns")
    assert len(runs) == 8
    assert sorted(each.name for each in client.search_experiments()) == ["Default", "lab"]


def test_a_folder_is_an_address_too(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.chdir(tmp_path)
    log_a_run(tmp_path / "run", uri="my store")
    assert len(read(tmp_path / "my store")[1]) == 1
    assert (tmp_path / ".my store.lock").exists()  # jobs of a sweep open it one by one
    assert "mlflow ui --backend-store-uri 'my store'" in caplog.text


class Server(BaseHTTPRequestHandler):
    """As much of MLflow's REST interface as a run needs; keeps every request."""

    ANSWERS: ClassVar = {
        "experiments/get-by-name": {"experiment": {"experiment_id": "5", "name": "lab", "lifecycle_stage": "active"}},
        "runs/create": {"run": {"info": {"run_id": "abc", "experiment_id": "5", "status": "RUNNING"}, "data": {}}},
    }

    def do_GET(self):
        self.answer({})

    def do_POST(self):
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}"))

    def answer(self, body):
        _, _, call = self.path.partition("/api/2.0/mlflow/")
        call = call.partition("?")[0]
        self.server.calls.append((call, body))
        if call in self.server.broken:
            self.send_error(500)
            return
        content = json.dumps(self.ANSWERS.get(call, {})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        """Keep the terminal quiet."""


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.calls, server.broken = [], set()
        server.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_server_is_told_of_the_run_by_its_rest_interface(server, tmp_path):
    (opened,) = open_loggers(chosen(server.address), tmp_path, "seed=1", "sweep-7", CONFIG)
    opened.log_metrics({"train/loss": 0.5}, 3)
    close_loggers([opened], 1)
    calls = dict(server.calls)
    assert (calls["runs/create"]["run_name"], calls["runs/create"]["experiment_id"]) == ("seed=1", "5")
    assert {"key": "sweep", "value": "sweep-7"} in calls["runs/create"]["tags"]
    batches = [body for call, body in server.calls if call == "runs/log-batch"]
    assert {"key": "model.alpha", "value": "0.4"} in batches[0]["params"]
    (metric,) = batches[1]["metrics"]
    assert (metric["key"], metric["value"], metric["step"]) == ("train/loss", 0.5, 3)
    assert calls["runs/update"]["status"] == "FAILED"
    assert not (tmp_path / "mlruns").exists()


def test_a_server_that_breaks_costs_one_warning(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    server.broken = {"runs/log-batch"}
    caplog.set_level(logging.WARNING, logger="safe_exp")
    assert log_a_run(tmp_path, uri=server.address) == []
    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("safe_exp")]
    assert warning.startswith("MLflow could not be started (")


def test_a_server_that_is_not_there_costs_one_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert log_a_run(tmp_path, uri="http://127.0.0.1:9") == []
    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("safe_exp")]
    assert warning.startswith("MLflow could not be started (")


def test_an_unknown_setting_is_refused():
    with pytest.raises(UserError, match=r"logger\.more\.mlflow\.address: there is no such key\."):
        check_loggers(LoggerConfig(csv=True, wandb=False, project="p", more={"mlflow": {"address": "http://x"}}))
