"""A W&B run that holds a report, in the group of the sweep's runs."""

from pathlib import Path
from typing import Any

from safe_exp.reporting.conditions import Study, format_value
from safe_exp.reporting.tables import Table
from safe_exp.runs.loggers import LoggedRun, open_logger


def publish(
    folder: Path, study: Study, score: str, summary: list[str], tables: list[Table], figures: dict[str, Path]
) -> bool:
    """Log summary, tables and figures to W&B, live with an account, otherwise offline in `folder`/wandb.

    A report that is made again continues the same W&B run. A failure of W&B costs a warning, not the report.

    Args:
        summary: sentences without markup.
        figures: PNG files by name.
    Returns:
        False if there was no W&B run to log to, as with WANDB_MODE=disabled.
    """
    stored = study.winner.jobs[0].config.get("logger") or {}
    settings: dict[str, Any] = {"report": {"sweep": study.sweep.folder.name, "score": score, "swept": study.swept}}
    run = LoggedRun(folder.resolve(), "report", study.sweep.group, settings)
    place = {"project": str(stored.get("project") or "safe_exp"), "entity": stored.get("entity")}
    logger = open_logger("wandb", place, run)
    if logger is None:
        return False
    logger.attempt("log the report", lambda opened: _log(opened.experiment, study, score, summary, tables, figures))
    logger.close(exit_code=0)
    return True


def _log(run: Any, study: Study, score: str, summary: list[str], tables: list[Table], figures: dict[str, Path]) -> None:
    """Log everything to the W&B run `run`."""
    import wandb

    run.summary["report/text"] = "\n".join(summary)
    run.summary["report/winner"] = {key: format_value(value) for key, value in study.winner.values.items()}
    run.summary[f"report/test/{score}"] = study.winner.summary("test", score).mean
    run.summary[f"report/val/{study.monitor}"] = study.winner.summary("val", study.monitor).mean
    for state, count in study.sweep.counts.items():
        run.summary[f"report/jobs/{state}"] = count
    run.log({f"report/figures/{name}": wandb.Image(str(path)) for name, path in figures.items()})
    for table in tables:
        cells = [[table.text(row, column) for column in table.columns] for row in table.rows]
        run.log({f"report/tables/{table.name}": wandb.Table(columns=[c.label for c in table.columns], data=cells)})
