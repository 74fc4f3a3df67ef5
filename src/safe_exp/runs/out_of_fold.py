"""The calibration of an ensemble, from the predictions that its jobs left of articles none of them was trained on.

Where the jobs are folds, an article is predicted by the jobs alone that had it on their test side: most often one, or
one for each seed, whose mean logit is then taken. The whole ensemble's logit of a new article is a mean over all folds,
and so a little less extreme than these. No article is left on which it could be seen, so the temperature is that of the
out-of-fold logits as they are: the ensemble's calibrated probabilities err towards one half, not towards certainty.

Where all jobs share one split (seeds, loss weights), the mean of their validation logits is the ensemble's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from safe_exp.runs.job_outcome import Job, ScoredArticle, ScoredArticles
from safe_exp.scoring.calibration import FOLDS, VALIDATION, Calibration, fit_calibration


class FittedEnsemble(NamedTuple):
    """The calibration of an ensemble, or the reason why there is none."""

    calibration: Calibration | None
    fitted_on: str = VALIDATION  # or FOLDS
    reason: str = ""  # completes "… has no calibration: "


def calibrate_jobs(jobs: Sequence[Job], combines: bool) -> FittedEnsemble:
    """Fit temperature, thresholds and combination to the mean logits of held-out articles.

    Args:
        jobs: the finished jobs of one sweep, two or more.
        combines: M_p and M_s are two scorers, which can be joined.
    """
    splits = [job.manifest.get("split", {}) for job in jobs]
    one_data_set = len({_prepared_fingerprint(job) for job in jobs}) == 1
    tests = {frozenset(split.get("test", ())) for split in splits}
    if one_data_set and len(tests) > 1 and sum(map(len, tests)) == len(frozenset().union(*tests)):
        side, fitted_on = "test", FOLDS
    elif one_data_set and all(split == splits[0] for split in splits):
        side, fitted_on = "val", VALIDATION
    else:
        return FittedEnsemble(
            None, reason="its jobs are neither the folds of one cross-validation nor trained on one and the same split"
        )
    predictions = [job.read_predictions(side) for job in jobs]
    empty = [job.number for job, articles in zip(jobs, predictions, strict=True) if not articles]
    if empty:
        return FittedEnsemble(None, reason=f"job {empty[0]} has no predictions.csv that can be read")
    calibration = fit_calibration(*_mean_scores(predictions, splits, side), combines)
    if calibration is None:
        return FittedEnsemble(None, reason=f"the articles of its {fitted_on} are of one class")
    return FittedEnsemble(calibration, fitted_on)


def _prepared_fingerprint(job: Job) -> str | None:
    """Return the fingerprint of the articles, whatever the split; an older job recorded none."""
    prepared = job.manifest.get("prepared") or {}
    fingerprint: str | None = prepared.get("fingerprint")
    return fingerprint


def _mean_scores(
    predictions: Sequence[ScoredArticles], splits: Sequence[dict[str, list[str]]], side: str
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Average logit and similarity of each article over the jobs that held it out.

    Returns:
        Logits (N,), similarities (N,) or None where the jobs compare nothing, and labels (N,).
    """
    found: dict[str, list[ScoredArticle]] = {}
    for articles, split in zip(predictions, splits, strict=True):
        held_out = set(split[side])
        for article in articles:
            if article.id in held_out:
                found.setdefault(article.id, []).append(article)
    logits = [np.mean([each.logit for each in same]) for same in found.values()]
    labels = np.array([same[0].label for same in found.values()])
    alike = [[each.similarity for each in same if each.similarity is not None] for same in found.values()]
    similarity = np.array([np.mean(each) for each in alike]) if all(alike) else None
    return np.array(logits), similarity, labels
