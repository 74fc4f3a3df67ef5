"""A table of the conditions beside their rivals: the mean of their seeds, the baselines, the paper's figures."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.special import expit

from safe_exp.config.figure_names import DISPLAY_NAMES
from safe_exp.config.threshold import THRESHOLD
from safe_exp.reporting.conditions import Condition, Study, format_value, symbol, trained_on_validation
from safe_exp.reporting.published import PUBLISHED
from safe_exp.reporting.statistics import summarise
from safe_exp.reporting.sweep_tables import add_class_balance, class_balance, split_values
from safe_exp.reporting.tables import Column, Table
from safe_exp.runs.job_outcome import Job
from safe_exp.scoring.curves import area_under, roc_points

FIGURES = ("auroc", "accuracy", "precision", "recall", "f1")
SITE_TITLES = {"politifact": "PolitiFact", "gossipcop": "GossipCop"}


def rivals_table(study: Study) -> Table | None:
    """Make the table; None if there are neither baselines nor figures of the paper for these articles."""
    site, articles = _find_site(study.winner.jobs[0])
    if not study.baselines and site not in PUBLISHED:
        return None
    rows: list[dict[str, Any]] = []
    if site in PUBLISHED:
        rows.append({"who": "theirs: SAFE with text and image, as printed (Zhou et al. 2020)"} | PUBLISHED[site])
    tasks = {tuple(format_value(c.values[key]) for key in study.task_keys): c for c in study.conditions}
    for values, first in tasks.items():
        task: dict[str, Any] = dict(zip(study.task_keys, values, strict=True))
        for condition in sorted(study.same_task(first), key=study.rank):
            rows += (task | {"articles": articles} | row for row in _condition_rows(condition, study.task_keys))
        for baseline in study.baselines:
            if tuple(format_value(baseline.values[key]) for key in study.task_keys) == values:
                rows.append(task | {"articles": articles} | _row(baseline, study.task_keys, "baseline"))
    columns = [Column("who", ""), *(Column(key, symbol(key)) for key in study.task_keys)]
    columns += [Column("articles", "articles"), Column("jobs", "jobs")]
    columns = add_class_balance(columns + [Column(name, DISPLAY_NAMES[name]) for name in FIGURES])
    note = (
        "Mean ± standard deviation [95 % bootstrap interval of the mean] on the test articles, over jobs; of a mean of "
        "seeds, over splits. A mean of seeds is the mean logit of the jobs of one split. Baselines were "
    )
    jobs = [job for condition in (*study.conditions, *study.baselines) for job in condition.jobs]
    if len({trained_on_validation(job) for job in jobs}) == 1:
        note += "fitted and scored on the very same articles."
    else:
        note += (
            "scored on the very same articles. Not all rows were fitted on the same: refit=true adds the validation "
            "articles, and not all jobs have it."
        )
    title = "Beside the baselines"
    if site in PUBLISHED:
        note += (
            " The paper's figures are quoted, not computed here; its articles, captions and splits are not exactly "
            "these (that the site is the same is told from the articles' names alone), and it gives neither a spread "
            f"nor a majority rate. {_positive_share(PUBLISHED[site]):.0%} of its test articles must be of the class "
            "that its precision and recall are of: no other share fits its accuracy."
        )
        title = f"Beside {'the baselines and ' * bool(study.baselines)}the paper's figures on {SITE_TITLES[site]}"
    return Table("rivals", title, columns, rows, note)


def _condition_rows(condition: Condition, task_keys: list[str]) -> Iterator[dict[str, Any]]:
    """Make the row of a condition, and that of the mean of its seeds where splits have several."""
    yield _row(condition, task_keys, "ours")
    by_split = defaultdict(list)
    for job in condition.jobs:
        by_split[split_values(job)].append(job)
    several = min(map(len, by_split.values()))
    if several < 2:
        return
    found = [scored for jobs in by_split.values() if (scored := _score_mean(jobs))]
    if found:
        who = f"ours: {_label(condition, task_keys)}, mean of {several} seeds"
        figures = {name: summarise([f[name] for f in found if f[name] is not None]) for name in FIGURES}
        yield {"who": who, "jobs": len(condition.jobs)} | figures | class_balance(condition.jobs)


def _row(condition: Condition, task_keys: list[str], whose: str) -> dict[str, Any]:
    about: dict[str, Any] = {"who": f"{whose}: {_label(condition, task_keys)}", "jobs": len(condition.jobs)}
    figures = {name: condition.summary("test", name) for name in FIGURES}
    return about | figures | class_balance(condition.jobs)


def _label(condition: Condition, task_keys: list[str]) -> str:
    """Name a condition within its task."""
    values = {key: value for key, value in condition.values.items() if key not in task_keys}
    return Condition(values, [], 0).label


def _score_mean(jobs: list[Job]) -> dict[str, float | None] | None:
    """Score the mean logit of jobs that tested the same articles; None where their predictions are gone or differ."""
    first = jobs[0].test_predictions
    places = {name: place for place, name in enumerate(dict.fromkeys(first.ids))}
    label = np.zeros(len(places), dtype=int)
    logits = np.zeros((len(jobs), len(places)))
    for job, row in zip(jobs, logits, strict=True):
        scored = job.test_predictions
        if not places or set(scored.ids) != places.keys():
            return None
        columns = [places[name] for name in scored.ids]
        row[columns] = [article.logit for article in scored]
        label[columns] = scored.label
    mean = expit(logits.mean(axis=0))  # (N,)
    verdict, fakes = mean > THRESHOLD, int(label.sum())
    called, right = int(verdict.sum()), int(label[verdict].sum())
    return {
        "auroc": area_under(*roc_points(label, mean)) if 0 < fakes < len(label) else None,
        "accuracy": float((verdict == label).mean()),
        "precision": right / max(called, 1),
        "recall": right / max(fakes, 1),
        "f1": 2 * right / max(called + fakes, 1),
    }


def _positive_share(figures: Mapping[str, float]) -> float:
    """Compute the share of the positive class, which accuracy, precision and recall determine together.

    With p the share, P and R: 1 - accuracy = p (1 - R) + p R (1/P - 1), the missed ones and the false alarms.
    """
    missed, alarms = 1 - figures["recall"], figures["recall"] * (1 / figures["precision"] - 1)
    return (1 - figures["accuracy"]) / (missed + alarms)


def _find_site(job: Job) -> tuple[str | None, int]:
    """Find the FakeNewsNet site of a job's articles, None if it is not the same for all, and count the articles.

    The site names a folder above fake/ and real/, or begins the name of an article, as in fake/politifact15544.
    """
    sides = job.manifest.get("split") or {}
    ids = [str(article) for side in sides.values() for article in side]
    sites = {_site(article) for article in ids}
    return (sites.pop() if len(sites) == 1 else None), len(ids)


def _site(article_id: str) -> str | None:
    """Find the site in an article's id."""
    folders = re.sub("^(train|val|test)/", "", article_id.casefold()).split("/")  # the id of a table's row is one part
    found = re.match(r"(politifact|gossipcop)", folders[0] if len(folders) > 2 else folders[-1])
    return found.group(1) if found else None
