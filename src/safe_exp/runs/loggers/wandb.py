"""One W&B run for each job, closed with the job's true exit status.

W&B never asks for anything and never ends a run. Without an account it records offline; when it fails, the run goes on.
"""

from __future__ import annotations

import logging
import netrc
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pytorch_lightning.loggers import WandbLogger

from safe_exp.runs.loggers import LoggedRun, LoggerKind, loggers
from safe_exp.runs.loggers._opened import in_one_line
from safe_exp.system.files import short_path, whole_file

log = logging.getLogger(__name__)

RUN_ID_FILE = Path("wandb", "run-id.txt")
ARTICLE_COLUMNS = ("id", "label", "probability", "similarity", "verdict")
INIT_TIMEOUT_SECONDS = 30  # W&B waits 90, without a word; WANDB_INIT_TIMEOUT overrides
FINISH_TIMEOUT_SECONDS = 120  # W&B waits without end: a lost network would hold up a finished job, and its sweep


class Wandb(LoggerKind):
    """Weights & Biases. A resumed run finds its W&B run again by wandb/run-id.txt in its folder.

    Settings: `project`.
    """

    name, title = "wandb", "W&B"

    def open(self, settings: Mapping[str, Any], run: LoggedRun) -> WandbLogger | None:
        if os.environ.get("WANDB_MODE", "").strip().lower() == "disabled":  # needs no import of wandb
            return None
        import wandb  # 0.8 s; only for those who use it

        with _silenced(wandb) as wandb_settings:
            mode = _wandb_mode(wandb_settings)
            if mode == "disabled":
                return None
            wandb_run = _start(wandb, mode, settings["project"], run)
            # Lightning does this only for runs that it opens itself.
            wandb_run.define_metric("trainer/global_step")
            wandb_run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
            log.info("%s", _whereabouts(wandb_run, run.folder))
        return RunWandbLogger(save_dir=run.folder, project=settings["project"], experiment=wandb_run)

    def log_results(self, logger: WandbLogger, figures: dict[str, Path], predictions: list[dict[str, Any]]) -> None:
        import wandb

        images = {f"figures/{name}": wandb.Image(str(path)) for name, path in figures.items()}
        rows = [[article.get(column) for column in ARTICLE_COLUMNS] for article in predictions]
        logger.experiment.log({**images, "test/articles": wandb.Table(columns=list(ARTICLE_COLUMNS), data=rows)})

    def close(self, logger: WandbLogger, exit_code: int) -> None:
        """End the W&B run: the next job of this process would otherwise write into it."""
        super().close(logger, exit_code)
        logger.experiment.finish(exit_code=exit_code)


class RunWandbLogger(WandbLogger):
    """Lightning's logger on a W&B run that has been opened already."""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the W&B run holds the resolved config, and the module's copy would overwrite parts of it."""


def _start(wandb: Any, mode: str, project: str, run: LoggedRun) -> Any:
    """Start a W&B run; offline where it cannot be started online."""
    folder = run.folder
    start = {"project": project, "dir": str(folder), "name": run.name, "group": run.group, "config": run.config}
    start |= {"resume": "allow", "reinit": "create_new", "settings": _run_settings(wandb)}  # its own, always
    try:
        return wandb.init(mode=mode, id=_stored_run_id(folder) or _new_run_id(folder), **start)
    except Exception as error:
        if mode == "offline":
            raise
        log.warning("W&B cannot be used online (%s); this run is recorded offline.", in_one_line(error))
        return wandb.init(mode="offline", id=_new_run_id(folder), **start)  # the first id stays taken


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
    """Build the settings of one W&B run, with those names only that this version of W&B knows."""
    wanted = {"silent": True, "console": "off", "finish_timeout": FINISH_TIMEOUT_SECONDS}
    if "WANDB_INIT_TIMEOUT" not in os.environ:
        wanted["init_timeout"] = INIT_TIMEOUT_SECONDS
    known = wandb.Settings.model_fields  # earlier versions lack finish_timeout, and refuse unknown names
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})


def _wandb_mode(settings: Any) -> str:
    """Return the user's choice (WANDB_MODE, `wandb offline`); else online with an account, and offline without."""
    # The variable is read here: W&B itself looks at it once per process and ignores later changes.
    chosen = os.environ.get("WANDB_MODE", "").strip().lower() or settings.mode
    if chosen not in ("online", "run"):
        return chosen
    if _has_account(settings):
        return "online"
    if os.environ.get("WANDB_MODE"):
        log.warning("WANDB_MODE=%s, but no W&B API key was found; this run is recorded offline.", chosen)
    return "offline"  # online, W&B would prompt or raise an error


def _has_account(settings: Any) -> bool:
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
    run_id = secrets.token_hex(4)  # not `random`, which every job of a sweep seeds alike
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
