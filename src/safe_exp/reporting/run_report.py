"""The report of one run: its figures in DIR/figures/ and the page DIR/report.html."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safe_exp.config.figure_names import DISPLAY_NAMES, lower_is_better
from safe_exp.config.threshold import THRESHOLD
from safe_exp.figures.files import FIGURES, PAGE, figure_path
from safe_exp.figures.of_a_run import draw_figures_of_finished
from safe_exp.reporting.conditions import format_value
from safe_exp.reporting.page import made_by
from safe_exp.reporting.page.run import render_run_page
from safe_exp.reporting.statistics import Summary
from safe_exp.reporting.tables import Column, Table
from safe_exp.runs.job_outcome import MULTIRUN, Job, read_job
from safe_exp.runs.resume import ADDITIONS
from safe_exp.runs.stored_config import read_stored_config
from safe_exp.scoring.calibration import VALIDATION
from safe_exp.scoring.epoch_values import CURVES_FILE
from safe_exp.scoring.table import LOSS_SCORERS
from safe_exp.scoring.trust import trust_lines
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path, whole_file
from safe_exp.system.nested import flat
from safe_exp.system.yaml_files import read_yaml

log = logging.getLogger(__name__)

SCORERS = {  # of metrics.json → heading
    "prediction": "verdict (M_p)",
    "similarity": "1 - M_s",
    "combined": "M_p and M_s",
    "calibrated": "M_p, calibrated",
}
WEIGHTS = {"best": "the best on validation", "last": "the last", "average": "a running average of all"}


def report_run(given: str) -> Path:
    """Draw the figures of a finished run into DIR/figures/, write DIR/report.html, and return its path.

    Args:
        given: the folder DIR, as the user gave it; it may be a job of a sweep.
    Raises:
        UserError: there is no finished run of train in it, a file of it is damaged, or it cannot be written to.
    """
    job = read_finished_run(given)
    try:
        figures = _with_earlier_losses(job, draw_figures_of_finished(job))
        page = render_run_page(
            "/".join(job.folder.parts[-2:]), summarise_run(job), result_tables(job), figures, start_tables(job),
            setting_tables(job), made_by(),
        )  # fmt: skip
        with whole_file(job.folder / PAGE) as draft:
            draft.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"run={given}: the report cannot be written to {job.folder} ({error.strerror}). Copy the run to where you "
            "may write, and report on the copy."
        ) from error
    log.info("Figures: %s", ", ".join(short_path(path).as_posix() for path in figures.values()))
    log.info("Open %s", short_path(job.folder / PAGE))
    return job.folder / PAGE


def read_finished_run(given: str) -> Job:
    """Read the outcome of a finished run of train.

    Raises:
        UserError: there is none in the folder; the message says what there is.
    """
    folder = Path(given).expanduser().resolve()
    if not folder.is_dir():
        found = "this is a file" if folder.exists() else f"there is no such folder (looked at {folder})"
        raise UserError(f"run={given}: {found}. Give the folder of a run, such as outputs/<date>/<time>.")
    if (folder / MULTIRUN).exists():
        raise UserError(
            f"run={given}: this is the folder of a sweep. Its report: python -m safe_exp.report sweep={given}. One job "
            f"of it: run={Path(given) / '0'}."
        )
    job = read_job(folder, 0, [])
    if not job.status:
        raise UserError(
            f"run={given}: there is no run in this folder (status.json is missing or cannot be read). Give the folder "
            "of a run, such as outputs/<date>/<time>."
        )
    command = re.search(r"safe_exp\.(\w+)", str(job.status.get("command")))
    if command is not None and command[1] != "train":
        raise UserError(
            f"run={given}: this is a folder of safe_exp.{command[1]}, and a report is about a run of safe_exp.train. "
            "What it found is in its metrics.json."
        )
    if job.state != "finished":
        raise UserError(f"run={given}: this run has no results to report: {job.state} ({job.reason}).")
    return job


def summarise_run(job: Job) -> list[str]:
    """Write the course and the results of a run as plain sentences, without markup."""
    metrics, data = job.metrics, job.metrics.get("data") or {}
    epochs = f"{metrics['epochs']} epoch{'s' * (metrics['epochs'] != 1)}"
    sentences = [f"The training ended after {epochs} ({metrics.get('stopped_by')}). {_describe_weights(metrics)}"]
    if {"train", "val", "test"} <= data.keys():
        sentences.append(
            f"{data['train']} articles for training, {data['val']} for validation, {data['test']} for test."
        )
    fitted_on = (metrics.get("refit") or {}).get("calibrated_on", VALIDATION)
    with suppress(KeyError, TypeError):  # a run of an earlier version may lack a part
        lines = trust_lines(metrics["test"], job.config.get("threshold", THRESHOLD), fitted_on)
        sentences += [f"{line[0].upper()}{line[1:]}." for line in lines]
    return sentences


def _describe_weights(metrics: Mapping[str, Any]) -> str:
    """Say which weights were scored on the test articles."""
    refit, selection = metrics.get("refit"), metrics.get("selection") or {}
    if refit:
        return f"Test is scored by {refit.get('test_scored_by')}."
    epoch, rule = selection.get("epoch", metrics.get("best_epoch")), selection.get("rule", "best")
    if rule == "average" or epoch is None:
        return f"The weights that are scored are {WEIGHTS['average' if rule == 'average' else 'last']} epochs."
    return f"The weights that are scored are those of epoch {epoch}, {WEIGHTS.get(rule, rule)}."


def result_tables(job: Job) -> list[Table]:
    """Make the tables of the figures of test, with their intervals, and of validation."""
    intervals = job.metrics["test"].get("intervals") or {}
    level = f"{intervals.get('level', 0.95):.0%}".replace("%", " %")
    legend = "Fake is the positive class; ↓: lower is better; majority: the accuracy of always giving one answer."
    fitted = "Calibration and best thresholds are fitted on them, so the figures that use these flatter. "
    note = f"In brackets what holds {level} of {intervals.get('resamples')} resamples of the test articles. {legend}"
    return [
        _results("test", "Test articles", job.metrics["test"], intervals, note if intervals else legend),
        _results("val", "Validation articles", job.metrics["val"], {}, fitted + legend),
    ]


def _results(name: str, title: str, split: Mapping[str, Any], intervals: Mapping[str, Any], note: str) -> Table:
    """Make the table of a split: a row for each figure, a column for each scorer.

    Args:
        split: its part of metrics.json.
        intervals: of its figures, as metrics.json has them.
    """
    scorers = [scorer for scorer in SCORERS if isinstance(split.get(scorer), Mapping)]

    def cell(figure: str, scorer: str) -> Summary | None:
        value, interval = split[scorer].get(figure), (intervals.get(scorer) or {}).get(figure)
        if figure in LOSS_SCORERS and value is None and (LOSS_SCORERS[figure] or "prediction") == scorer:
            value, interval = split.get(figure), intervals.get(figure)
        if value is None:
            return None
        low, high = interval if isinstance(interval, list) and None not in interval else (None, None)
        return Summary(1, value, None, low, high)

    rows: list[dict[str, Any]] = []
    for figure, label in DISPLAY_NAMES.items():
        cells = {scorer: cell(figure, scorer) for scorer in scorers}
        if any(value is not None for value in cells.values()):
            rows.append({"figure": f"{label} ↓" if lower_is_better(figure) else label, **cells})
        if figure == "accuracy" and (majority := (split.get("articles") or {}).get("majority_rate")) is not None:
            rows.append({"figure": "majority", "prediction": majority})
    rows.append({"figure": "threshold of the verdict", **(split.get("thresholds") or {})})
    return Table(name, title, [Column("figure", "figure"), *(Column(s, SCORERS[s]) for s in scorers)], rows, note)


def start_tables(job: Job) -> list[Table]:
    """Make the tables of what the command line gave, and of when and with what the run was made."""
    status = job.status
    about = {name: status.get(name) for name in ("command", "started", "ended", "host", "git_commit")}
    versions = ", ".join(f"{name} {value}" for name, value in (status.get("versions") or {}).items())
    about |= {"versions": versions or None, "data": (job.metrics.get("data") or {}).get("fingerprint")}
    given = _pairs("given", "Given on the command line", _given(job))
    made = _pairs("made", "How it was made", {name: value for name, value in about.items() if value is not None})
    return [given, made] if given.rows else [made]


def setting_tables(job: Job) -> list[Table]:
    """Make the table of the whole config of the run; none where it cannot be read."""
    try:
        config = flat(read_stored_config(job.folder))
    except UserError:
        return []
    config |= {key: value for key, value in _given(job).items() if key in config}  # a resume may have raised a limit
    known = {key: value for key, value in config.items() if value is not None}
    return [_pairs("settings", "The whole config", known, "Keys without a value (null) are left out.")]


def _given(job: Job) -> dict[str, str]:
    """List the overrides of the command line by key, those of later resumes last."""
    added = (str(item).partition("=") for item in read_yaml(job.folder / ADDITIONS, list))
    return job.overrides | {key: value for key, _, value in added}


def _pairs(name: str, title: str, values: Mapping[str, Any], note: str = "") -> Table:
    """Make a table of two columns, key and value."""
    rows = [{"key": key, "value": format_value(value)} for key, value in values.items()]
    columns = [Column("key", "key"), Column("value", "value", sorted_by_number=False)]
    return Table(name, title, columns, rows, note)


def _with_earlier_losses(job: Job, figures: dict[str, Path]) -> dict[str, Path]:
    """Add the loss curves that a run of an earlier version has drawn itself, where their numbers are not kept.

    Returns:
        The figures in the order of FIGURES.
    """
    if "loss_curves" not in figures:
        path = figure_path(job.folder, "loss_curves")
        lacks = f"the run has neither {CURVES_FILE} nor a CSV log of its epochs"
        if path.exists():
            figures["loss_curves"] = path
            log.info("%s is the one of the run's end: %s.", path.name, lacks)
        else:
            log.warning("The losses are not drawn: %s.", lacks)
    return {name: figures[name] for name in FIGURES if name in figures}
