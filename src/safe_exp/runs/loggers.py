"""The loggers of a run: CSV files in logs/, and one W&B run per job, closed with the job's true exit status.

W&B never asks for anything and never ends a run: without an account it records offline; if it fails, the run goes on.
"""

import logging
import netrc
import os
import secrets
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from safe_exp.config import LoggerConfig
from safe_exp.system.files import short_path, whole_file

log = logging.getLogger(__name__)

RUN_ID_FILE = Path("wandb", "run-id.txt")
ARTICLE_COLUMNS = ("id", "label", "probability", "similarity", "verdict")
INIT_TIMEOUT_SECONDS = 30  # W&B's own 90 is a long stare at a still terminal; WANDB_INIT_TIMEOUT overrides
FINISH_TIMEOUT_SECONDS = 120  # W&B's own is endless: a lost network would keep a finished job, and its sweep, waiting


def open_loggers(config: LoggerConfig, folder: Path, run_name: str, group: str | None, resolved: dict) -> list[Logger]:
    """The loggers that `config` asks for, writing below the run folder.

    Args:
        folder: the run folder; a resumed run finds its W&B run again by folder/wandb/run-id.txt.
        run_name: how W&B lists the run, such as the job's overrides.
        group: the sweep that the run belongs to; None for a single run.
        resolved: the whole config as plain values.
    Returns:
        No loggers in any process but the first, so that a run is recorded once. To be closed with `close_loggers`.
    """
    if rank_zero_only.rank != 0:
        return []
    folder = Path(folder).resolve()
    loggers: list[Logger] = []
    if config.csv:
        loggers.append(CSVLogger(folder, name="logs"))  # a new version_<n> each time: a resumed run deletes no rows
    if config.wandb and os.environ.get("WANDB_MODE", "").strip().lower() != "disabled":  # which needs no wandb at all
        wandb_logger = _open_wandb(config.project, folder, run_name, group, resolved)
        loggers += [wandb_logger] if wandb_logger else []
    return loggers


def close_loggers(loggers: list[Logger], exit_code: int) -> None:
    """Write out what is left and end the W&B run; else the next job of this process would go on writing into it."""
    for logger in loggers:
        logger.finalize("success" if exit_code == 0 else "failed")
        if isinstance(logger, SteadyWandbLogger):
            logger.attempt("close the run", lambda run: run.finish(exit_code=exit_code))


def log_results(loggers: list[Logger], figures: dict[str, Path], predictions: list[dict]) -> None:
    """Show the figures and a table of the test articles in W&B.

    Args:
        figures: PNG files by name.
        predictions: one dict per test article with the keys of ARTICLE_COLUMNS; similarity may be None.
    """
    for logger in loggers:
        if isinstance(logger, SteadyWandbLogger):
            logger.attempt("log the results", lambda run: run.log(_results(figures, predictions)))


class SteadyWandbLogger(WandbLogger):
    """Lightning's WandbLogger, but a fault of W&B costs one warning and the rest of its log, never the training."""

    broken = False

    def attempt(self, what: str, action: Callable[[Any], Any]) -> None:
        """Call `action` with the W&B run, unless an earlier call has failed."""
        if self.broken:
            return
        try:
            action(self.experiment)
        except Exception as error:  # whatever a service, a network or a disk can raise
            self.broken = True
            log.warning("W&B could not %s (%s); the run goes on without it.", what, _one_line(error))

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        at_step = {} if step is None else {"trainer/global_step": step}
        self.attempt("log metrics", lambda run: run.log({**metrics, **at_step}))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The run holds the resolved config already; the module's own copy would overwrite sections of it."""


def _open_wandb(
    project: str, folder: Path, run_name: str, group: str | None, resolved: dict
) -> SteadyWandbLogger | None:
    try:
        import wandb  # 0.8 s; only for those who use it

        with _silenced(wandb) as settings:
            mode = _wandb_mode(settings)
            if mode == "disabled":
                return None
            start = {"project": project, "dir": str(folder), "name": run_name, "group": group, "config": resolved}
            start |= {"resume": "allow", "reinit": "create_new", "settings": _run_settings(wandb)}  # its own, always
            try:
                run = wandb.init(mode=mode, id=_stored_run_id(folder) or _new_run_id(folder), **start)
            except Exception as error:
                if mode == "offline":
                    raise
                log.warning("W&B cannot be used online (%s); this run is recorded offline.", _one_line(error))
                run = wandb.init(mode="offline", id=_new_run_id(folder), **start)  # the first id stays taken
            # Lightning does this only for runs that it opens itself.
            run.define_metric("trainer/global_step")
            run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
            log.info("%s", _whereabouts(run, folder))
    except Exception as error:
        log.warning("W&B could not be started (%s); the run goes on without it.", _one_line(error))
        return None
    return SteadyWandbLogger(save_dir=folder, project=project, experiment=run)


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
    wanted = {"silent": True, "console": "off", "finish_timeout": FINISH_TIMEOUT_SECONDS}
    if "WANDB_INIT_TIMEOUT" not in os.environ:
        wanted["init_timeout"] = INIT_TIMEOUT_SECONDS
    known = wandb.Settings.model_fields  # finish_timeout came late, and an unknown name is an error
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})


def _wandb_mode(settings: Any) -> str:
    """WANDB_MODE or `wandb offline` where the user has chosen, else online with an account and offline without."""
    # The variable is read here: W&B itself looks at it once per process and ignores later changes.
    chosen = os.environ.get("WANDB_MODE", "").strip().lower() or settings.mode
    if chosen not in ("online", "run"):
        return chosen
    if _has_account(settings):
        return "online"
    if os.environ.get("WANDB_MODE"):
        log.warning("WANDB_MODE=%s, but no W&B API key was found; this run is recorded offline.", chosen)
    return "offline"  # online would prompt, or be an error


def _has_account(settings: Any) -> bool:
    """Whether W&B will find credentials by itself, where it looks for them: environment, settings file, netrc."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE") or settings.api_key:
        return True
    hosts = {urlsplit(settings.base_url).netloc}
    if settings.base_url == type(settings).model_fields["base_url"].default:
        hosts.add("api.wandb.ai")  # the default server has had more than one name; W&B accepts a key for this one
    path = os.environ.get("NETRC") or next((p for p in ("~/.netrc", "~/_netrc") if Path(p).expanduser().exists()), None)
    try:
        entries = netrc.netrc(Path(path).expanduser()).hosts if path else {}
    except (OSError, netrc.NetrcParseError):
        return False
    return any(host in entries and entries[host][2] for host in hosts)


def _stored_run_id(folder: Path) -> str | None:
    """The W&B id that this run folder had before it was resumed.

    Online the resumed run goes on in the same W&B run. Offline each part is a file of its own under the same id, and
    `wandb sync` joins the parts in order.
    """
    path = folder / RUN_ID_FILE
    return path.read_text(encoding="utf-8").strip() or None if path.exists() else None


def _new_run_id(folder: Path) -> str:
    run_id = secrets.token_hex(4)  # not `random`, which every job of a sweep seeds alike
    with whole_file(folder / RUN_ID_FILE) as draft:
        draft.write_text(run_id + "\n", encoding="utf-8")
    return run_id


def _whereabouts(run: Any, folder: Path) -> str:
    if run.offline:
        parts = shlex.quote(str(short_path(folder / "wandb"))) + f"/offline-run-*-{run.id}*"
        return f"W&B: recorded offline; to upload: wandb sync {parts}"
    return f"W&B: {run.url}"


def _results(figures: dict[str, Path], predictions: list[dict]) -> dict[str, Any]:
    import wandb

    images = {f"figures/{name}": wandb.Image(str(path)) for name, path in figures.items()}
    rows = [[article.get(column) for column in ARTICLE_COLUMNS] for article in predictions]
    return {**images, "test/articles": wandb.Table(columns=list(ARTICLE_COLUMNS), data=rows)}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
