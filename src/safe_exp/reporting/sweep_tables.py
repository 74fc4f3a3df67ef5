"""Tables of a sweep: its conditions, their comparisons, and all jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Any

from safe_exp.config.figure_names import describe_score, lower_is_better
from safe_exp.reporting.conditions import (
    BASELINE,
    SPLITS,
    Condition,
    Study,
    format_value,
    read_value,
    symbol,
    trained_on_validation,
)
from safe_exp.reporting.statistics import FEWEST_FOR_INTERVAL, Comparison, compare, holm
from safe_exp.reporting.tables import Column, Table
from safe_exp.runs.job_outcome import Job

VERDICT = ("accuracy", "precision", "recall", "f1", "f1_macro", "auroc", "average_precision", "brier", "ece")
SIMILARITY = ("similarity_auroc", "similarity_average_precision")  # verdicts at 1/2 mean little under Eq. (15)
COMBINED = ("combined_accuracy", "combined_auroc", "combined_average_precision")
CALIBRATED = ("calibrated_brier", "calibrated_ece")  # beside brier and ece, which are before calibration
WON = "won"  # True in the winner's row of the conditions; no column shows it
SMALLEST_P = 0.0001

_Replicate = tuple[tuple[str, ...], str]  # values of SPLITS, and of the seed


def sweep_tables(study: Study, score: str) -> list[Table]:
    """Make the tables that the sweep has data for."""
    tables = [conditions_table(study), comparisons_table(study, score), jobs_table(study, score)]
    return [table for table in tables if table is not None]


def conditions_table(study: Study) -> Table:
    """Make the table of conditions, the best on the validation articles first."""
    monitored = f"val_{study.monitor}"
    columns = [Column(key, symbol(key)) for key in study.swept] or [Column("condition", "condition")]
    columns += [Column("finished", "jobs finished"), Column(monitored, f"{describe_score(study.monitor)}, validation")]
    wanted = (*VERDICT, *CALIBRATED, *SIMILARITY, *COMBINED)
    names = [name for name in wanted if any(c.summary("test", name).n for c in study.conditions)]
    columns += [Column(name, describe_score(name) + (" ↓" if lower_is_better(name) else "")) for name in names]
    columns = add_class_balance(columns)
    rows = []
    for condition in sorted(study.conditions, key=study.rank):
        row: dict[str, Any] = {key: format_value(value) for key, value in condition.values.items()} or {
            "condition": condition.label
        }
        row[WON] = study.decided and condition is study.winner
        row["finished"] = f"{len(condition.jobs)} of {condition.planned}"
        row[monitored] = condition.summary("val", study.monitor)
        row |= class_balance(condition.jobs)
        row |= {name: condition.summary("test", name) for name in names}
        rows.append(row)
    note = (
        "Mean ± standard deviation [95 % bootstrap interval of the mean] over "
        f"{' and '.join(study.replicates) or 'the one job of each condition'}, on the test articles unless it says "
        "validation. Fake is the positive class; ↓: lower is better; majority: the accuracy of always giving the "
        "commoner answer; fakes: their share of the articles. "
        f"No interval is claimed from fewer than {FEWEST_FOR_INTERVAL} jobs."
    )
    return Table("conditions", "What each condition reached", columns, rows, note, keys=max(len(study.swept), 1))


def comparisons_table(study: Study, score: str) -> Table | None:
    """Make the table of paired tests of all conditions against the reference; None if there is no other condition."""
    pairs = [(condition, study.find_reference(condition)) for condition in (*study.conditions, *study.baselines)]
    pairs = [(condition, reference) for condition, reference in pairs if condition is not reference]
    if not pairs:
        return None
    found = [_compare_conditions(condition, reference, score) for condition, reference in pairs]
    corrected = holm([comparison.p for comparison in found])
    rows = [
        {"condition": c.label, "reference": r.label, "pairs": f.pairs, "difference": f.difference, "t": f.t, "p": f.p,
         "p_holm": h}
        for (c, r), f, h in zip(pairs, found, corrected, strict=True)
    ]  # fmt: skip
    columns = [
        Column("condition", "condition"), Column("pairs", "pairs"),
        Column("difference", f"difference in {describe_score(score)}"), Column("t", "t", 2),
        Column("p", "p", 4, SMALLEST_P), Column("p_holm", "p, Holm", 4, SMALLEST_P),
    ]  # fmt: skip
    against = f"{study.reference.label} ({study.reference_reason})"
    whose = study.reference.label
    if study.task_keys:
        columns.insert(1, Column("reference", "minus"))
        against = "the one beside it, which read the same articles"
        whose = "the reference"
    note = (
        f"Each condition minus {against}, in pairs of equal seed and fold. "
        "Two-sided paired t-test; where the pairs are splits of the same articles, with Nadeau and Bengio's correction "
        "for the training articles that folds share, seeds averaged within a split first. Folds are not independent "
        f"all the same, so these p-values flatter. p, Holm: corrected for {len(pairs)} comparison"
        f"{'s' * (len(pairs) > 1)}. Fewer than {FEWEST_FOR_INTERVAL} pairs are not tested."
    )
    return Table("comparisons", f"Does the difference from {whose} exceed chance?", columns, rows, note)


def _compare_conditions(ours: Condition, reference: Condition, score: str) -> Comparison:
    """Test a condition, or a baseline, against the reference.

    The pairs are splits, with scores averaged over seeds in each, or seeds if there is only one split.
    """
    scores, reference_scores = _scores_by_replicate(ours, score), _scores_by_replicate(reference, score)
    overlap = fmean([share for job in ours.jobs if (share := _tested_share(job)) is not None] or [0.0])
    if BASELINE in ours.values:  # it has no seed
        return compare(_average_seeds(scores, scores), _average_seeds(reference_scores, reference_scores), overlap)
    shared = sorted(scores.keys() & reference_scores.keys())
    if len({split for split, _ in shared}) < 2:
        return compare({key: scores[key] for key in shared}, reference_scores)
    return compare(_average_seeds(scores, shared), _average_seeds(reference_scores, shared), overlap)


def _tested_share(job: Job) -> float | None:
    """Divide the number of test articles by that of the articles trained on; None where it is not known."""
    data = job.metrics.get("data") or {}
    if not data.get("train"):
        return None
    return float(data["test"] / (data["train"] + (data["val"] if trained_on_validation(job) else 0)))


def _average_seeds(
    scores: Mapping[_Replicate, float], replicates: Collection[_Replicate]
) -> dict[tuple[str, ...], float]:
    """Average the scores of these replicates over the seeds of each split."""
    splits = dict.fromkeys(split for split, _ in replicates)
    return {split: fmean(scores[key] for key in replicates if key[0] == split) for split in splits}


def _scores_by_replicate(condition: Condition, score: str) -> dict[_Replicate, float]:
    """Read the test score of each finished job that has one."""
    values: dict[_Replicate, float] = {}
    for job in condition.jobs:
        value = job.figure("test", score)
        if value is not None:
            values[split_values(job), format_value(read_value(job, "seed"))] = value
    return values


def split_values(job: Job) -> tuple[str, ...]:
    """Read the values of SPLITS that tell a job's test articles from those of its replicates."""
    return tuple(format_value(read_value(job, key)) for key in SPLITS)


def jobs_table(study: Study, score: str) -> Table:
    """Make the table of all jobs, finished or not."""
    keys = study.swept + study.replicates
    columns = [Column("job", "job"), *(Column(key, symbol(key)) for key in keys), Column("state", "state")]
    columns += [Column(f"val_{study.monitor}", f"{describe_score(study.monitor)}, validation")]
    names = list(dict.fromkeys([score, "accuracy", "f1"]))
    columns = add_class_balance(columns + [Column(name, describe_score(name)) for name in names])
    columns += [Column("epochs", "epochs"), Column("stopped_by", "ended by"), Column("seconds", "seconds", 1)]
    rows = []
    for job in study.sweep.jobs:
        row = {"job": job.number, "state": job.state} | {key: format_value(read_value(job, key)) for key in keys}
        if job.state == "finished":
            row |= {f"val_{study.monitor}": job.figure("val", study.monitor)}
            row |= {name: job.figure("test", name) for name in names} | class_balance([job])
            row |= {name: job.metrics.get(name) for name in ("epochs", "stopped_by", "seconds")}
        rows.append(row)
    return Table("jobs", "Every job", columns, rows, "Scores are of the test articles unless it says validation.")


def add_class_balance(columns: list[Column]) -> list[Column]:
    """Insert the columns of `class_balance` after the accuracy, which means nothing without them."""
    place = [column.key for column in columns].index("accuracy") + 1
    return [*columns[:place], Column("majority", "majority"), Column("fakes", "fakes"), *columns[place:]]


def majority_rate(condition: Condition) -> float | None:
    """Compute the accuracy of always giving the commoner answer, averaged over the jobs; None if it is not known."""
    return class_balance(condition.jobs)["majority"]


def class_balance(jobs: Sequence[Job]) -> dict[str, float | None]:
    """Compute the majority rate and the share of fakes of the test articles: means over the jobs, None if not known."""
    shares = []
    for job in jobs:
        fake, real = job.test_counts
        if fake + real:
            shares.append(fake / (fake + real))
    if not shares:
        return {"majority": None, "fakes": None}
    return {"majority": fmean(max(share, 1 - share) for share in shares), "fakes": fmean(shares)}
