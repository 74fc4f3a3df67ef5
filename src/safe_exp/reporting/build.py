"""A report from beginning to end: read the sweep, compare, draw, and write DIR/report/."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from pathlib import Path

from safe_exp.config import ReportConfig
from safe_exp.figures.sheet import save_figure
from safe_exp.reporting.case_study import choose_cases
from safe_exp.reporting.conditions import Study, group
from safe_exp.reporting.page import render_page
from safe_exp.reporting.publish import publish
from safe_exp.reporting.summary import summary_sentences
from safe_exp.reporting.sweep_figures import Drawing, sweep_drawings, with_similarity
from safe_exp.reporting.sweep_tables import sweep_tables
from safe_exp.reporting.table_files import write_table
from safe_exp.reporting.tables import Table
from safe_exp.sweep.folder import read_sweep
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path, whole_file
from safe_exp.system.terminal import tracked

log = logging.getLogger(__name__)


def report(config: ReportConfig) -> Path:
    """Write DIR/report/: index.html, tables/ and figures/; return the page's path.

    Raises:
        UserError: `sweep` is no sweep with a finished job, `score` is none of its figures, or DIR cannot be written to.
    """
    start = time.perf_counter()
    study = group(read_sweep(config.folder, lambda numbers: tracked(log, numbers, "Reading jobs")))
    require_score(study, config.score)
    folder = study.sweep.folder / "report"
    sentences = summary_sentences(study, config.score)
    tables = sweep_tables(study, config.score)
    try:
        figures = write_report(folder, study, config, sentences, tables)
    except OSError as error:
        raise UserError(
            f"sweep={config.folder}: the report cannot be written to {folder} ({error.strerror}). "
            "Copy the sweep to where you may write, with some megabytes to spare, and report on the copy."
        ) from error
    if config.wandb and not publish(folder, study, config.score, sentences, tables, figures):
        log.warning("No W&B run was recorded: WANDB_MODE=disabled, or W&B could not be started.")
    for sentence in sentences:
        log.info("%s", sentence)
    log.info("%.0f s. Open %s", time.perf_counter() - start, short_path(folder / "index.html"))
    return folder / "index.html"


def write_report(
    folder: Path, study: Study, config: ReportConfig, sentences: list[str], tables: list[Table]
) -> dict[str, Path]:
    """Write everything, the page last; return the figures' PNG files by name."""
    written = [path for table in tables for path in write_table(table, folder / "tables")]
    drawings = sweep_drawings(study, config.score)
    figures = [draw(drawing, folder) for drawing in tracked(log, drawings, "Drawing figures")]
    condition = with_similarity(study)
    cases = choose_cases(condition, config.cases) if condition else {}
    page = render_page(study, sentences, tables, figures, cases, condition.label if condition else "", footer())
    with whole_file(folder / "index.html") as draft:
        draft.write_text(page, encoding="utf-8")
    remove_stale(folder, {*written, *(path for _, *paths in figures for path in paths)})
    return {drawing.name: png for drawing, png, _ in figures}


def remove_stale(folder: Path, written: set[Path]) -> None:
    """Of an earlier report: tables and figures that this one does not have."""
    for path in (*folder.glob("tables/*.*"), *folder.glob("figures/*.*")):
        if path.suffix in (".csv", ".md", ".tex", ".png", ".svg") and path not in written:
            path.unlink()


def draw(drawing: Drawing, folder: Path) -> tuple[Drawing, Path, Path]:
    """Draw one figure into figures/ and say where its PNG and its SVG are."""
    png, svg = (folder / "figures" / f"{drawing.name}.{suffix}" for suffix in ("png", "svg"))
    save_figure(drawing.build, png, svg)
    return drawing, png, svg


def require_score(study: Study, score: str) -> None:
    names = sorted({name for job in study.sweep.finished for name in job.figures("test")})
    if score not in names:
        raise UserError(f"score={score}: the finished jobs have no such figure of their test articles, only {', '.join(names)}.")  # fmt: skip # noqa: E501


def footer() -> str:
    return f"Made by safe_exp on {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}."
