"""A report from beginning to end: read the sweep, compare its conditions, draw, and write DIR/report/."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from safe_exp.config import ReportConfig
from safe_exp.figures.sheet import save_figure
from safe_exp.reporting.case_study import choose_cases
from safe_exp.reporting.conditions import Study, group
from safe_exp.reporting.page import made_by
from safe_exp.reporting.page.sweep import render_sweep_page
from safe_exp.reporting.publish import publish
from safe_exp.reporting.rivals import rivals_table
from safe_exp.reporting.summary import summarise_study
from safe_exp.reporting.sweep_figures import Drawing, DrawnFigure, find_condition_with_similarity, sweep_drawings
from safe_exp.reporting.sweep_tables import sweep_tables
from safe_exp.reporting.table_files import write_table
from safe_exp.reporting.tables import Table
from safe_exp.runs.job_outcome import Job
from safe_exp.sweep.folder import read_baselines, read_sweep
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path, whole_file
from safe_exp.system.terminal import tracked

log = logging.getLogger(__name__)


def report(config: ReportConfig) -> Path:
    """Write DIR/report/ with index.html, tables/ and figures/, and return the path of the page.

    Raises:
        UserError: DIR is no sweep with a finished job, its jobs have no figure `score`, DIR cannot be written to, or
            `baselines` is no sweep of baselines.
    """
    start = time.perf_counter()
    sweep = read_sweep(config.folder, lambda numbers: tracked(log, numbers, "Reading jobs"))
    baselines = [] if config.baselines is None else read_baselines(config.baselines)
    study = group(sweep, baselines)
    _warn_of_other_articles(study, baselines)
    _require_score(study, config.score)
    folder = study.sweep.folder / "report"
    summary = summarise_study(study, config.score)
    tables = sweep_tables(study, config.score)
    rivals = rivals_table(study)
    tables[1:1] = [] if rivals is None else [rivals]  # after the conditions
    try:
        figures = _write_report(folder, study, config, summary, tables)
    except OSError as error:
        raise UserError(
            f"sweep={config.folder}: the report cannot be written to {folder} ({error.strerror}). "
            "Copy the sweep to where you may write, with some megabytes to spare, and report on the copy."
        ) from error
    if config.wandb and not publish(folder, study, config.score, summary, tables, figures):
        log.warning("No W&B run was recorded: WANDB_MODE=disabled, or W&B could not be started.")
    for line in summary:
        log.info("%s", line)
    log.info("%.0f s. Open %s", time.perf_counter() - start, short_path(folder / "index.html"))
    return folder / "index.html"


def _write_report(
    folder: Path, study: Study, config: ReportConfig, summary: list[str], tables: list[Table]
) -> dict[str, Path]:
    """Write all files, the page last; return the PNG files of the figures by name."""
    written = [path for table in tables for path in write_table(table, folder / "tables")]
    drawings = sweep_drawings(study, config.score)
    figures = [_draw(drawing, folder) for drawing in tracked(log, drawings, "Drawing figures")]
    condition = find_condition_with_similarity(study)
    cases = choose_cases(condition, config.cases) if condition else {}
    scored_by = condition.label if condition else ""
    page = render_sweep_page(study, summary, tables, figures, cases, scored_by, made_by())
    with whole_file(folder / "index.html") as draft:
        draft.write_text(page, encoding="utf-8")
    _remove_stale(folder, {*written, *(path for figure in figures for path in (figure.png, figure.svg))})
    return {figure.drawing.name: figure.png for figure in figures}


def _remove_stale(folder: Path, written: set[Path]) -> None:
    """Remove tables and figures of an earlier report that this one does not have."""
    for path in (*folder.glob("tables/*.*"), *folder.glob("figures/*.*")):
        if path.suffix in (".csv", ".md", ".tex", ".png", ".svg") and path not in written:
            path.unlink()


def _draw(drawing: Drawing, folder: Path) -> DrawnFigure:
    """Write one figure into figures/, as PNG and SVG."""
    png, svg = (folder / "figures" / f"{drawing.name}.{suffix}" for suffix in ("png", "svg"))
    save_figure(drawing.build, png, svg)
    return DrawnFigure(drawing, png, svg)


def _require_score(study: Study, score: str) -> None:
    """Refuse a score that no finished job has for its test articles.

    Raises:
        UserError: the message lists the scores that there are.
    """
    names = sorted({name for job in study.sweep.finished for name in job.figures("test")})
    if score not in names:
        raise UserError(f"score={score}: the finished jobs have no such figure of their test articles, only {', '.join(names)}.")  # fmt: skip # noqa: E501


def _warn_of_other_articles(study: Study, baselines: list[Job]) -> None:
    left_out = len(baselines) - sum(len(condition.jobs) for condition in study.baselines)
    if left_out:
        log.warning(
            "%s of the %s jobs of the baselines tested other articles than the sweep, and are left out. Their data.… "
            "and captioner must be those of the sweep.", left_out, len(baselines),
        )  # fmt: skip
