"""The folds of a finished sweep, from which a refit takes its number of epochs and its calibration."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from safe_exp.config import Select
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.runs.checkpoints import read_checkpoint
from safe_exp.runs.job_outcome import Job, ScoredArticle, job_folders, read_job
from safe_exp.scoring.scores import ScoredSplit
from safe_exp.system.errors import UserError
from safe_exp.system.nested import flat

# Keys of the manifest's settings that place the articles on the sides; a refit over all articles may place them anew.
PLACING_KEYS = ("split", "val_fraction", "test_fraction", "folds", "fold", "seed")


class FoldSweep(NamedTuple):
    """The jobs of a sweep over folds."""

    jobs: int  # that have finished
    rule: Select  # of most jobs: the weights that they keep
    epochs: int  # median of the jobs that follow the rule
    scored: ScoredSplit  # every article once, by a job that was neither trained nor validated on it


def read_folds(folder: str | Path, data: FakeNewsNetDataModule, settings: Mapping[str, Any]) -> FoldSweep:
    """Read the finished jobs of a sweep over folds.

    Jobs of other settings, as of another model that the sweep compares, are left aside; so are those of another split
    than the first job's, whose folds are of other articles.

    Args:
        folder: of the sweep, as the user wrote it.
        data: of the refit, after `setup`.
        settings: hyper-parameters of the refit's module, with which those of the jobs must agree.
    Raises:
        UserError: there is no such sweep, all its jobs differ in model, optimizer or data, or a fold has not finished.
    """
    path = Path(folder).expanduser()
    folders = job_folders(path) if path.is_dir() else {}
    jobs = [job for job in (read_job(sub, n, []) for n, sub in folders.items()) if job.state == "finished"]
    if not jobs:
        raise UserError(
            f"refit_from={folder}: no finished job is in this folder. Give that of a sweep over folds, as of "
            "`python -m safe_exp.train -m data.folds=5 'data.fold=range(5)'`."
        )
    differences = {job.number: _find_difference(job, data, settings) for job in jobs}
    if all(differences.values()):
        raise UserError(
            f"refit_from={folder}: no job is like this refit. Job {jobs[0].number} {differences[jobs[0].number]}. Give "
            "the sweep's own settings, of which only the seed and the split may differ."
        )
    jobs = [job for job in jobs if differences[job.number] is None]
    jobs = [job for job in jobs if _placing(job) == _placing(jobs[0])]
    by_fold = {job.manifest["settings"]["fold"]: job for job in reversed(jobs)}  # of several the first one counts
    count = jobs[0].manifest["settings"]["folds"]
    lacking = [fold for fold in range(count or 0) if fold not in by_fold]
    if not count or lacking:
        found = f"fold {lacking[0]} of {count} has no finished job" if count else "its jobs are no folds (data.folds)"
        raise UserError(
            f"refit_from={folder}: {found}, and every article must have been tested once. Finish the sweep, or give "
            "one over folds."
        )
    kept = [_kept(job) for job in jobs]
    rule = statistics.mode(rule for rule, _ in kept)
    epochs = statistics.median(epoch for found, epoch in kept if found is rule)
    articles = [article for job in by_fold.values() for article in job.test_predictions]
    return FoldSweep(len(jobs), rule, max(1, round(epochs)), _scored_split(articles, data.ids))


def _placing(job: Job) -> dict[str, Any]:
    """Read the settings of the split, of which the folds are parts."""
    return {key: job.manifest["settings"].get(key) for key in PLACING_KEYS if key != "fold"}


def _kept(job: Job) -> tuple[Select, int]:
    """Read the rule by which a job kept its weights, and the number of epochs that these have seen."""
    selection = job.metrics.get("selection")
    if not isinstance(selection, dict):  # of an earlier version
        return Select.best, int(job.metrics["best_epoch"])
    return Select(selection["rule"]), int(selection["epoch"])


def _find_difference(job: Job, data: FakeNewsNetDataModule, settings: Mapping[str, Any]) -> str | None:
    """Describe the first difference between a job and the refit; None where there is none."""
    ours, theirs = data.manifest(), job.manifest
    if (theirs.get("prepared") or {}).get("fingerprint") != ours["prepared"]["fingerprint"]:
        return f"was trained on other articles than data.root={data.data.root}"
    if job.config.get("refit_from") is not None:
        return f"chose no number of epochs itself, but took it from refit_from={job.config['refit_from']}"
    stored = read_checkpoint(job.folder / "checkpoints" / "last.ckpt").get("hyper_parameters", {})
    batch = (job.config.get("data") or {}).get("batch_size")
    then, now = flat(stored), flat(settings)
    then |= {f"data.{k}": v for k, v in flat(theirs["settings"]).items() if k not in PLACING_KEYS}
    now |= {f"data.{k}": v for k, v in flat(ours["settings"]).items() if k not in PLACING_KEYS}
    then |= {"vectors": theirs["vocabulary"]["vectors"], "vectors.dim": theirs["vocabulary"]["dim"]}
    now |= {"vectors": ours["vocabulary"]["vectors"], "vectors.dim": ours["vocabulary"]["dim"]}
    if batch is not None:
        then["data.batch_size"], now["data.batch_size"] = batch, data.data.batch_size
    changed = [key for key in sorted(then.keys() & now.keys()) if then[key] != now[key]]
    return (
        f"was trained with {changed[0]}={then[changed[0]]}, and this refit has {now[changed[0]]}" if changed else None
    )


def _scored_split(articles: Sequence[ScoredArticle], ids: Sequence[str]) -> ScoredSplit:
    """Join predictions of articles, by their rows in the data module, of which `ids` are the ids."""
    rows = {article: row for row, article in enumerate(ids)}
    ordered = sorted((article for article in articles if article.id in rows), key=lambda article: rows[article.id])
    logit = torch.tensor([article.logit for article in ordered])
    similarities = [article.similarity for article in ordered]
    known = [s for s in similarities if s is not None]
    return ScoredSplit(
        torch.tensor([rows[article.id] for article in ordered]),
        torch.tensor([article.label for article in ordered]),
        torch.stack([logit, torch.zeros_like(logit)], dim=1),
        torch.tensor([article.probability for article in ordered]),
        torch.tensor(known) if len(known) == len(ordered) else None,
    )
