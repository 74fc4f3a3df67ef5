"""What a sweep varied: jobs that differ only by seed or fold are replicates of one condition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import yaml

from safe_exp.reporting.statistics import Summary, summarise
from safe_exp.runs.outcome import Job
from safe_exp.sweep.folder import Sweep

REPLICATES = ("seed", "data.fold", "data.seed")  # averaged over
SPLITS = ("data.fold", "data.seed")  # the replicates that change which articles are tested
VARIANTS = "model"  # the group override that picks SAFE or one of its ablations
REFERENCE_VARIANT = "safe"
SYMBOLS = {"model.alpha": "α", "model.beta": "β", "model.gamma": "γ", "model.filter_sizes": "H", VARIANTS: "variant"}


@dataclass(eq=False)
class Condition:
    """The finished jobs that share every swept value but seed and fold."""

    values: dict[str, Any]  # swept key → value; empty when nothing but replicates was swept
    jobs: list[Job]  # finished ones
    of: int  # how many jobs the condition has, finished or not

    @property
    def label(self) -> str:
        if not self.values:
            return "all jobs"
        # A variant needs no "variant =" before its name.
        pairs = (
            show(value) if key == VARIANTS else f"{symbol(key)} = {show(value)}" for key, value in self.values.items()
        )
        return ", ".join(pairs)

    def summary(self, split: str, name: str) -> Summary:
        """Of a figure over the finished jobs that have it."""
        values = (job.figure(split, name) for job in self.jobs)
        return summarise([value for value in values if value is not None])


@dataclass
class Study:
    """A sweep, grouped: the conditions in the order of their first jobs, the winner and the reference among them."""

    sweep: Sweep
    swept: list[str]  # keys of the conditions
    replicates: list[str]  # those of REPLICATES that vary
    conditions: list[Condition]  # with at least one finished job
    monitor: str  # validation figure that the winner is chosen by, without its "val/"
    lowest_wins: bool
    winner: Condition
    runner_up: Condition | None
    reference: Condition  # what the others are compared with
    reference_reason: str
    left_aside: list[Condition]  # too few jobs with a validation figure to be chosen

    def values_of(self, key: str) -> list[Any]:
        """The values of a swept key among the conditions, numbers in their order, others as first seen."""
        values = list({show(condition.values[key]): condition.values[key] for condition in self.conditions}.values())
        return sorted(values) if all(is_number(value) for value in values) else values

    @property
    def decided(self) -> bool:
        """False when no job has a finite validation figure; the first condition then stands where a winner would."""
        return self.winner.summary("val", self.monitor).mean is not None

    def rank(self, condition: Condition) -> float:
        """What orders the conditions from the best to the worst on the validation articles."""
        mean = condition.summary("val", self.monitor).mean
        return math.inf if mean is None else mean if self.lowest_wins else -mean

    def along(self, *keys: str) -> list[Condition]:
        """The conditions that agree with the winner in every swept key but these."""
        others = [key for key in self.swept if key not in keys]
        same = [show(self.winner.values[key]) for key in others]
        return [c for c in self.conditions if [show(c.values[key]) for key in others] == same]


def group(sweep: Sweep) -> Study:
    """Sort the jobs into conditions; choose the winner on the validation split and never on the test split."""
    varying = _varying_keys(sweep.jobs)
    swept = [key for key in varying if key not in REPLICATES]
    conditions = [c for c in _conditions(sweep.jobs, swept) if c.jobs]
    monitor, mode = _monitor(sweep.finished)
    # A mean of fewer jobs is easier to be lucky with, be it that the others failed or that their losses exploded.
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
        left_aside=[c for c in conditions if c not in ranked],
    )


def show(value: Any) -> str:
    """A swept value as text: 0.5, [3, 4], safe, null."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return f"[{', '.join(map(show, value))}]"
    return "null" if value is None else str(value)


def symbol(key: str) -> str:
    return SYMBOLS.get(key, key)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _conditions(jobs: list[Job], swept: list[str]) -> list[Condition]:
    conditions: dict[tuple[str, ...], Condition] = {}
    for job in jobs:
        values = {key: value_of(job, key) for key in swept}
        condition = conditions.setdefault(tuple(map(show, values.values())), Condition(values, [], 0))
        condition.of += 1
        if job.state == "finished":
            condition.jobs.append(job)
    return list(conditions.values())


def _varying_keys(jobs: list[Job]) -> list[str]:
    jobs = [job for job in jobs if job.overrides or job.state == "finished"]  # of others nothing is known
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    return [key for key in keys if len({show(value_of(job, key)) for job in jobs}) > 1]


def value_of(job: Job, key: str) -> Any:
    """The value that a job has for an override's key: typed where its config holds it, else as it was typed in."""
    node: Any = job.config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    if node is not None and not isinstance(node, dict) and "${" not in str(node):
        return node
    text = job.overrides.get(key)
    if text is None:
        return "default"
    try:
        return float(text)  # YAML would read 1e-3 as a word
    except ValueError:
        return _plain_yaml(text)


def _plain_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _monitor(finished: list[Job]) -> tuple[str, str]:
    """What the jobs' own checkpoints were chosen by; that of the first job, should they differ."""
    callbacks = finished[0].config.get("callbacks") or {}
    name = str(callbacks.get("monitor") or "val/loss_prediction").removeprefix("val/")
    return name, str(callbacks.get("mode") or "min")


def _reference(
    ranked: list[Condition], conditions: list[Condition], swept: list[str], best_reason: str
) -> tuple[Condition, str]:
    if VARIANTS in swept:
        for condition in (*ranked, *conditions):
            if condition.values[VARIANTS] == REFERENCE_VARIANT:
                return condition, "the whole model, of which the others leave something out"
    return ranked[0], best_reason
