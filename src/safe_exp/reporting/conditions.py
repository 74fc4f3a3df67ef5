"""Conditions of a sweep. Jobs that differ only in seed or fold are replicates of one condition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from safe_exp.reporting.statistics import Summary, summarise
from safe_exp.runs.job_outcome import Job
from safe_exp.sweep.folder import Sweep

REPLICATES = ("seed", "data.fold", "data.seed")  # keys that scores are averaged over
SPLITS = ("data.fold", "data.seed")  # those of REPLICATES that change the test articles
VARIANTS = "model"  # group override that chooses SAFE or one of its ablations
REFERENCE_VARIANT = "safe"
BASELINE = "baseline"  # group override that chooses a baseline
# Keys of the data that leave the articles and their split as they are. Conditions that differ in another one have other
# articles to score, and their figures cannot be compared.
READING_KEYS = (
    "data.batch_size", "data.max_text_tokens", "data.max_visual_tokens", "data.min_frequency", "data.words",
    "data.keep_urls", "data.workers", "data.prepared",
)  # fmt: skip
SYMBOLS = {"model.alpha": "α", "model.beta": "β", "model.gamma": "γ", "model.filter_sizes": "H", VARIANTS: "variant"}


@dataclass(eq=False)
class Condition:
    """The jobs that share all swept values except seed and fold."""

    values: dict[str, Any]  # swept key → value; empty when nothing but replicates was swept
    jobs: list[Job]  # finished ones
    planned: int  # number of its jobs, finished or not

    @property
    def label(self) -> str:
        """The swept values as text, such as "α = 0.4, β = 0.6"."""
        if not self.values:
            return "all jobs"
        # The name of a variant needs no "variant =" before it.
        pairs = (
            format_value(value) if key in (VARIANTS, BASELINE) else f"{symbol(key)} = {format_value(value)}"
            for key, value in self.values.items()
        )
        return ", ".join(pairs)

    def summary(self, split: str, name: str) -> Summary:
        """Summarise a figure of a split over the finished jobs that have it."""
        values = (job.figure(split, name) for job in self.jobs)
        return summarise([value for value in values if value is not None])


@dataclass
class Study:
    """A sweep grouped into conditions, with its winner and its reference."""

    sweep: Sweep
    swept: list[str]  # keys of the conditions
    replicates: list[str]  # those of REPLICATES that vary
    conditions: list[Condition]  # those with a finished job, in the order of their first jobs
    monitor: str  # validation figure that chooses the winner, without "val/"
    lowest_wins: bool
    winner: Condition
    runner_up: Condition | None
    reference: Condition  # the one that the others are compared with
    reference_reason: str
    excluded: list[Condition]  # those with too few jobs with a validation figure to win
    baselines: list[Condition] = field(default_factory=list)  # of safe_exp.baseline, on the same articles

    @property
    def task_keys(self) -> list[str]:
        """The swept keys that change the articles or their split."""
        return [key for key in self.swept if _changes_articles(key)]

    def same_task(self, condition: Condition) -> list[Condition]:
        """List the conditions with the articles and the split of this one, which may be a baseline."""
        wanted = [format_value(condition.values.get(key)) for key in self.task_keys]
        return [c for c in self.conditions if [format_value(c.values[key]) for key in self.task_keys] == wanted]

    def find_reference(self, condition: Condition) -> Condition:
        """Find the condition with which this one is compared, on the same articles."""
        if not self.task_keys:
            return self.reference
        same = self.same_task(condition)
        ranked = sorted((c for c in same if c not in self.excluded), key=self.rank)
        return _reference(ranked or same, same, self.swept, "")[0]

    def list_values(self, key: str) -> list[Any]:
        """List the values of a swept key, numbers in ascending order, others in the order of the jobs."""
        values = list(
            {format_value(condition.values[key]): condition.values[key] for condition in self.conditions}.values()
        )
        return sorted(values) if all(is_number(value) for value in values) else values

    @property
    def decided(self) -> bool:
        """False if no job has a finite validation figure; `winner` is then the first condition."""
        return self.winner.summary("val", self.monitor).mean is not None

    def rank(self, condition: Condition) -> float:
        """Return a sort key that orders conditions from best to worst on the validation articles."""
        mean = condition.summary("val", self.monitor).mean
        return math.inf if mean is None else mean if self.lowest_wins else -mean

    def along(self, *keys: str) -> list[Condition]:
        """List the conditions that equal the winner in all swept keys except these."""
        others = [key for key in self.swept if key not in keys]
        same = [format_value(self.winner.values[key]) for key in others]
        return [c for c in self.conditions if [format_value(c.values[key]) for key in others] == same]


def group(sweep: Sweep, baselines: Sequence[Job] = ()) -> Study:
    """Group the jobs of a sweep into conditions; choose the winner on the validation split, never on the test split.

    Args:
        baselines: finished jobs of safe_exp.baseline. Those that tested other articles than the sweep are left out.
    """
    varying = _varying_keys(sweep.jobs)
    swept = [key for key in varying if key not in REPLICATES]
    conditions = [c for c in _conditions(sweep.jobs, swept) if c.jobs]
    monitor, mode = _monitor(sweep.finished)
    # A mean over fewer jobs is good by chance more often, whether the others failed or their losses diverged.
    most = max(condition.summary("val", monitor).n for condition in conditions)
    ranked = [c for c in conditions if most and c.summary("val", monitor).n == most]
    sign = 1 if mode == "min" else -1
    ranked.sort(key=lambda condition: sign * condition.summary("val", monitor).mean)
    best_reason = "the condition that won on the validation articles" if ranked else "the first condition"
    ranked = ranked or conditions
    reference, reason = _reference(ranked, conditions, swept, best_reason)
    return Study(
        sweep=sweep,
        swept=swept,
        replicates=[key for key in varying if key in REPLICATES],
        conditions=conditions,
        monitor=monitor,
        lowest_wins=mode == "min",
        winner=ranked[0],
        runner_up=ranked[1] if len(ranked) > 1 else None,
        reference=reference,
        reference_reason=reason,
        excluded=[c for c in conditions if c not in ranked],
        baselines=_baseline_conditions(baselines, sweep.finished, [key for key in swept if _changes_articles(key)]),
    )


def format_value(value: Any) -> str:
    """Write a swept value as text: 0.5, [3, 4], safe, null."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return f"[{', '.join(map(format_value, value))}]"
    return "null" if value is None else str(value)


def symbol(key: str) -> str:
    """Return the paper's symbol for a key, or the key itself."""
    return SYMBOLS.get(key, key)


def is_number(value: Any) -> bool:
    """Return True for an integer or a float, not for a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def trained_on_validation(job: Job) -> bool:
    """Return True where the model behind a job's test figures was trained on the validation articles too."""
    return job.config.get("refit") is True  # under refit=all the figures are those of the model before


def _conditions(jobs: list[Job], swept: list[str]) -> list[Condition]:
    """Group jobs by the values of the swept keys."""
    conditions: dict[tuple[str, ...], Condition] = {}
    for job in jobs:
        values = {key: read_value(job, key) for key in swept}
        condition = conditions.setdefault(tuple(map(format_value, values.values())), Condition(values, [], 0))
        condition.planned += 1
        if job.state == "finished":
            condition.jobs.append(job)
    return list(conditions.values())


def _changes_articles(key: str) -> bool:
    """Return True for a key of the data that changes the articles or their split, folds and their seed apart."""
    return key == "data" or (key.startswith("data.") and key not in REPLICATES and key not in READING_KEYS)


def _baseline_conditions(baselines: Sequence[Job], jobs: Sequence[Job], task_keys: list[str]) -> list[Condition]:
    """Group the jobs of baselines that tested the very articles of a job of the sweep, under the same values."""

    def tested(job: Job) -> tuple[tuple[str, ...], frozenset[str]]:
        values = tuple(format_value(read_value(job, key)) for key in task_keys)
        return values, frozenset(job.test_predictions.ids)

    known = {tested(job) for job in jobs} if baselines else set()
    shared = [job for job in baselines if tested(job) in known]
    swept = [key for key in _varying_keys(shared) if key not in (*REPLICATES, *task_keys, BASELINE)]
    conditions: dict[tuple[str, ...], Condition] = {}
    for job in shared:
        values = {key: read_value(job, key) for key in task_keys}
        values |= {BASELINE: job.config[BASELINE]["name"]} | {key: read_value(job, key) for key in swept}
        condition = conditions.setdefault(tuple(map(format_value, values.values())), Condition(values, [], 0))
        condition.planned += 1
        condition.jobs.append(job)
    return list(conditions.values())


def _varying_keys(jobs: list[Job]) -> list[str]:
    """List the overridden keys whose values differ between jobs."""
    jobs = [job for job in jobs if job.overrides or job.state == "finished"]  # others have no known values
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    return [key for key in keys if len({format_value(read_value(job, key)) for job in jobs}) > 1]


def read_value(job: Job, key: str) -> Any:
    """Read a job's value of an overridden key: from its config if it is there, otherwise from the override's text."""
    node: Any = job.config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    if node is not None and not isinstance(node, dict) and "${" not in str(node):
        return node
    text = job.overrides.get(key)
    if text is None:
        return "default"
    try:
        return float(text)  # YAML would read 1e-3 as text
    except ValueError:
        return _plain_yaml(text)


def _plain_yaml(text: str) -> Any:
    """Parse an override's value; text that is no YAML stays text."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _monitor(finished: list[Job]) -> tuple[str, str]:
    """Read the figure and the mode that chose the jobs' checkpoints; those of the first job if they differ."""
    callbacks = finished[0].config.get("callbacks") or {}
    name = str(callbacks.get("monitor") or "val/loss_prediction").removeprefix("val/")
    return name, str(callbacks.get("mode") or "min")


def _reference(
    ranked: list[Condition], conditions: list[Condition], swept: list[str], best_reason: str
) -> tuple[Condition, str]:
    """Choose the condition that the others are compared with, and give the reason in words."""
    if VARIANTS in swept:
        for condition in (*ranked, *conditions):
            if condition.values[VARIANTS] == REFERENCE_VARIANT:
                return condition, "the whole model, of which the others leave something out"
    return ranked[0], best_reason
