"""One W&B run for each job, closed with the job's true exit status.

W&B never asks for anything and never ends a run. Without an account it records offline; when it fails, the run goes on.
"""

from __future__ import annotations

import logging
import netrc
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytorch_lightning.loggers import WandbLogger

from safe_exp.runs.compat import skip_staged_inputs
from safe_exp.runs.loggers import LoggedRun, LoggerKind, loggers
from safe_exp.runs.loggers._opened import in_one_line
from safe_exp.runs.loggers._wandb_charts import wandb_charts
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path, whole_file

if TYPE_CHECKING:
    from safe_exp.scoring.charts import ChartTable

log = logging.getLogger(__name__)

RUN_ID_FILE = Path("wandb", "run-id.txt")
ARTICLE_COLUMNS = ("id", "label", "probability", "similarity", "verdict")
TIMEOUTS = {  # seconds; WANDB_INIT_TIMEOUT and WANDB_FINISH_TIMEOUT override
    "init_timeout": 30,  # W&B waits 90, without a word
    "finish_timeout": 120,  # W&B waits without end: a lost network would hold up a finished job, and its sweep
}
LONGEST_NAME, LONGEST_TAG, LONGEST_JOB_TYPE = 128, 64, 64  # characters; W&B's server refuses longer ones


class Wandb(LoggerKind):
    """Weights & Biases. A resumed run finds its W&B run again by wandb/run-id.txt in its folder.

    Settings: `project`; and those that LoggerConfig explains, `entity`, `tags`, `notes`, `job_type`, `pictures`.
    """

    name, title = "wandb", "W&B"

    def check(self, settings: Mapping[str, Any]) -> None:
        for tag in settings.get("tags") or []:
            if not 1 <= len(tag) <= LONGEST_TAG:
                raise UserError(
                    f"logger.tags: the tag '{tag}' has {len(tag)} characters; W&B takes 1 to {LONGEST_TAG}."
                )
        job_type = settings.get("job_type") or ""
        if len(job_type) > LONGEST_JOB_TYPE:
            raise UserError(f"logger.job_type={job_type}: W&B takes {LONGEST_JOB_TYPE} characters at most.")

    def open(self, settings: Mapping[str, Any], run: LoggedRun) -> WandbLogger | None:
        if os.environ.get("WANDB_MODE", "").strip().lower() == "disabled":  # needs no import of wandb
            return None
        import wandb  # 0.8 s; only for those who use it

        skip_staged_inputs()

        with _silenced(wandb) as wandb_settings:
            mode = _wandb_mode(wandb_settings)
            if mode == "disabled":
                return None
            wandb_run = _start(wandb, mode, settings, run)
            # Lightning does this only for runs that it opens itself.
            wandb_run.define_metric("trainer/global_step")
            wandb_run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
            log.info("%s", _whereabouts(wandb_run, run.folder))
        logger = RunWandbLogger(save_dir=run.folder, project=settings["project"], experiment=wandb_run)
        logger.pictures = bool(settings.get("pictures"))
        return logger

    def log_rows(self, logger: RunWandbLogger, rows: Sequence[tuple[dict[str, float], int]]) -> None:
        """Log the rows of one step together, such as those of training and validation: a call takes a millisecond."""
        for step, of_step in groupby(rows, key=lambda row: row[1]):
            logger.log_metrics({name: value for values, _ in of_step for name, value in values.items()}, step)

    def log_results(self, logger: RunWandbLogger, figures: dict[str, Path], predictions: list[dict[str, Any]]) -> None:
        import wandb

        images = {f"figures/{name}": wandb.Image(str(path)) for name, path in figures.items() if logger.pictures}
        rows = [[article.get(column) for column in ARTICLE_COLUMNS] for article in predictions]
        logger.log_tables({**images, "test/articles": wandb.Table(columns=list(ARTICLE_COLUMNS), data=rows)})

    def log_charts(self, logger: RunWandbLogger, tables: Mapping[str, ChartTable]) -> None:
        logger.log_tables(wandb_charts(tables))

    def close(self, logger: RunWandbLogger, exit_code: int) -> None:
        """End the W&B run: the next job of this process would otherwise write into it.

        Data that W&B does not take in time stay in the run folder, and one warning gives the command that uploads them.
        """
        import wandb

        super().close(logger, exit_code)
        try:
            with _silenced(wandb):
                logger.experiment.finish(exit_code=exit_code)
        except TimeoutError:
            parts = shlex.quote(str(short_path(Path(logger.experiment.settings.sync_dir))))
            log.warning(
                "W&B did not take everything in time; to upload the rest: wandb sync --include-online %s", parts
            )


class RunWandbLogger(WandbLogger):
    """Lightning's logger on a W&B run that has been opened already."""

    pictures = False  # True: the drawn figures are sent too
    refused = False  # W&B did not take a table: others would wait for it as long

    def log_tables(self, values: dict[str, Any]) -> None:
        """Log tables, charts or images. A failure costs one warning, and further tables; the run goes on and is closed.

        W&B asks its server before it takes a table, and raises an error when there is no answer.
        """
        if self.refused:
            return
        try:
            self.experiment.log(values)
        except Exception as error:
            self.refused = True
            log.warning("W&B could not log the tables of the test articles (%s).", in_one_line(error))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the W&B run holds the resolved config, and the module's copy would overwrite parts of it."""


def _start(wandb: Any, mode: str, settings: Mapping[str, Any], run: LoggedRun) -> Any:
    """Start a W&B run; offline where it cannot be started online."""
    folder = run.folder
    start = {"project": settings["project"], "dir": str(folder), "name": _shortened(run.name)}
    start |= {"group": None if run.group is None else _shortened(run.group)}
    start |= {name: settings.get(name) or None for name in ("entity", "notes", "job_type", "tags")}
    start |= {"config": run.config, "resume": "allow", "reinit": "create_new"}  # its own, always
    start["settings"] = _run_settings(wandb)
    try:
        wandb_run = wandb.init(mode=mode, id=_stored_run_id(folder) or _new_run_id(folder), **start)
        if os.environ.get("WANDB_SWEEP_ID"):  # an agent's run has the id that its sweep gave it
            _store_run_id(folder, wandb_run.id)
        return wandb_run
    except Exception as error:
        if mode == "offline":
            raise
        log.warning("W&B cannot be used online (%s); this run is recorded offline.", in_one_line(error))
        return wandb.init(mode="offline", id=_new_run_id(folder), **start)  # the first id stays taken


def _shortened(name: str) -> str:
    """Shorten a name of a run or a group to W&B's limit, from the front: a sweep's own overrides stand at the end."""
    return name if len(name) <= LONGEST_NAME else "..." + name[3 - LONGEST_NAME :]


@contextmanager
def _silenced(wandb: Any) -> Iterator[Any]:
    """Yield W&B's settings of this process, with its messages off and its prompts refused until the block ends."""
    settings = wandb.setup().settings
    wandb.termsetup(wandb.Settings(silent=True, show_info=False, show_warnings=False), None)
    try:
        yield settings
    finally:
        wandb.termsetup(settings, None)


def _run_settings(wandb: Any) -> Any:
    """Build the settings of one W&B run; variables of the user come before TIMEOUTS."""
    wanted: dict[str, Any] = {"silent": True, "console": "off", "finish_timeout_raises": True}
    wanted |= {name: value for name, value in TIMEOUTS.items() if f"WANDB_{name.upper()}" not in os.environ}
    return wandb.Settings(**wanted)


def _wandb_mode(settings: Any) -> str:
    """Return the user's choice (WANDB_MODE, `wandb offline`); else online with an account, and offline without."""
    # The variable is read here: W&B itself looks at it once per process and ignores later changes.
    chosen = os.environ.get("WANDB_MODE", "").strip().lower() or settings.mode
    if chosen not in ("online", "run"):
        return chosen
    if has_account(settings):
        return "online"
    if os.environ.get("WANDB_MODE"):
        log.warning("WANDB_MODE=%s, but no W&B API key was found; this run is recorded offline.", chosen)
    return "offline"  # online, W&B would prompt or raise an error


def has_account(settings: Any) -> bool:
    """Look for credentials where W&B does: environment, settings file, netrc."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE") or settings.api_key:
        return True
    hosts = {urlsplit(settings.base_url).netloc}
    if settings.base_url == type(settings).model_fields["base_url"].default:
        hosts.add("api.wandb.ai")  # another name of the default server, whose key W&B accepts
    path = os.environ.get("NETRC") or next((p for p in ("~/.netrc", "~/_netrc") if Path(p).expanduser().exists()), None)
    try:
        entries = netrc.netrc(Path(path).expanduser()).hosts if path else {}
    except (OSError, netrc.NetrcParseError):
        return False
    return any(host in entries and entries[host][2] for host in hosts)


def _stored_run_id(folder: Path) -> str | None:
    """Read the W&B id that an earlier part of this run was recorded under; None in a new folder.

    Online the resumed run goes on in the same W&B run. Offline each part is a file of its own under the same id, and
    `wandb sync` joins the parts in order.
    """
    path = folder / RUN_ID_FILE
    return path.read_text(encoding="utf-8").strip() or None if path.exists() else None


def _new_run_id(folder: Path) -> str:
    """Draw a W&B id and store it in the run folder."""
    return _store_run_id(folder, secrets.token_hex(4))  # not `random`, which every job of a sweep seeds alike


def _store_run_id(folder: Path, run_id: str) -> str:
    """Store a W&B id in the run folder, and return it."""
    with whole_file(folder / RUN_ID_FILE) as draft:
        draft.write_text(run_id + "\n", encoding="utf-8")
    return run_id


def _whereabouts(run: Any, folder: Path) -> str:
    """Say where the run is recorded, and how an offline one is uploaded."""
    if run.offline:
        parts = shlex.quote(str(short_path(folder / "wandb"))) + f"/offline-run-*-{run.id}*"
        return f"W&B: recorded offline; to upload: wandb sync {parts}"
    return f"W&B: {run.url}"


loggers.add(Wandb())
