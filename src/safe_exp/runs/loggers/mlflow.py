"""One MLflow run for each job, in a store of files or on a server, closed with the job's exit state."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pytorch_lightning.loggers import MLFlowLogger

from safe_exp.runs.loggers import LoggedRun, LoggerKind, loggers
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path, whole_file
from safe_exp.system.lock import LOCK_NAME, locked
from safe_exp.system.nested import flat

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

RUN_ID_FILE = Path("mlflow", "run-id.txt")
STORE = "mlruns"  # the store of files, in the folder of the sweep or of a single run
DEFAULTS = {  # variables that MLflow reads; the user's own values go first
    "MLFLOW_ALLOW_FILE_STORE": "true",  # MLflow 3 would ask for a database, which jobs of a sweep would wait for
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # MLflow tries 7 times, with pauses of minutes; the run waits meanwhile
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # seconds; MLflow waits 120
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a training sends nothing to anybody unless it is asked to
}


class Mlflow(LoggerKind):
    """MLflow. A resumed run finds its MLflow run again by mlflow/run-id.txt in its folder.

    Settings: `tracking_uri`.
    """

    name, title, package = "mlflow", "MLflow", "mlflow"

    def check(self, settings: Mapping[str, Any]) -> None:
        unknown = sorted(settings.keys() - {"tracking_uri"})
        if unknown:
            raise UserError(f"logger.more.mlflow.{unknown[0]}: there is no such key. Its only key is tracking_uri.")

    def open(self, settings: Mapping[str, Any], run: LoggedRun) -> MLFlowLogger:
        for variable, value in DEFAULTS.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient  # takes 2 s to import

        uri = settings.get("tracking_uri") or os.environ.get("MLFLOW_TRACKING_URI")
        uri = _address(str(uri)) if uri else ((run.sweep_folder or run.folder) / STORE).as_uri()
        with _alone(uri):  # the first client of a store of files sets it up
            client = MlflowClient(uri)
            experiment = _experiment_id(client, run.project)
        resumed = _resumed(client, run.folder)
        logger = RunMLFlowLogger(client, uri, resumed or _start(client, experiment, run), run.folder)
        if resumed is None:
            logger.log_config(run.config)
        log.info("%s", _whereabouts(uri, logger.run_id))
        return logger

    def log_results(self, logger: Any, figures: dict[str, Path], predictions: list[dict[str, Any]]) -> None:
        for path in figures.values():
            logger.experiment.log_artifact(logger.run_id, str(path), "figures")
        if (path := logger.folder / "predictions.csv").exists():
            logger.experiment.log_artifact(logger.run_id, str(path))

    def close(self, logger: Any, exit_code: int) -> None:
        logger.experiment.set_terminated(logger.run_id, "FINISHED" if exit_code == 0 else "FAILED")


class RunMLFlowLogger(MLFlowLogger):
    """Lightning's logger on an MLflow run that has been started already."""

    def __init__(self, client: MlflowClient, uri: str, run_id: str, folder: Path) -> None:
        super().__init__(tracking_uri=uri, run_id=run_id)
        self.client, self.folder = client, folder

    @property
    def experiment(self) -> MlflowClient:
        """The client. Lightning's would make the address that of the whole process, and so of its next job."""
        return self.client

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Write the resolved config as parameters, by dotted key."""
        super().log_hyperparams(flat(config))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the MLflow run holds the resolved config, and refuses to change it."""

    def finalize(self, status: str = "success") -> None:
        """Do nothing: Lightning calls it after the training, and the test figures come later."""


def _resumed(client: MlflowClient, folder: Path) -> str | None:
    """Go on with the MLflow run of an earlier part of this run; None where the store has none."""
    from mlflow.exceptions import MlflowException

    path = folder / RUN_ID_FILE
    if not path.exists():
        return None
    run_id = path.read_text(encoding="utf-8").strip()
    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None  # another store by now
    return run_id


def _start(client: MlflowClient, experiment: str, run: LoggedRun) -> str:
    """Start an MLflow run and store its id in the run folder."""
    tags = {"sweep": run.group, "folder": str(run.folder)}
    tags = {key: value for key, value in tags.items() if value is not None}
    started = client.create_run(experiment, run_name=run.name, tags=tags)
    run_id = str(started.info.run_id)
    with whole_file(run.folder / RUN_ID_FILE) as draft:
        draft.write_text(run_id + "\n", encoding="utf-8")
    return run_id


def _address(given: str) -> str:
    """Return the address of a store; a folder, which MLflow takes too, as one of a store of files."""
    if urlsplit(given).scheme or given.startswith("databricks"):
        return given
    return Path(given).expanduser().resolve().as_uri()


def _alone(uri: str) -> AbstractContextManager[None]:
    """Let one job of a sweep at a time into a store of files; a server has locks of its own."""
    if not uri.startswith("file:"):
        return nullcontext()
    store = _path(uri)
    store.parent.mkdir(parents=True, exist_ok=True)
    return locked(store.with_name(f".{store.name}{LOCK_NAME}"), "Another job opens the MLflow store.")


def _experiment_id(client: MlflowClient, name: str) -> str:
    """Return the id of an experiment, which is made where there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another job may have made it on the server since
            if found is None:
                raise
    return str(found.experiment_id)


def _path(uri: str) -> Path:
    return Path(url2pathname(urlsplit(uri).path))


def _whereabouts(uri: str, run_id: str | None) -> str:
    """Say where the run is recorded, and how a store of files is looked at."""
    if not uri.startswith("file:"):
        return f"MLflow: {uri}, run {run_id}"
    store = shlex.quote(str(short_path(_path(uri))))
    return f"MLflow: to look at it: MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {store}"


loggers.add(Mlflow())
