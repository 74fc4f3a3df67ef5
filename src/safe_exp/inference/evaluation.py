"""Scores of a stored run, or of the jobs of a sweep as one model, on a folder of labelled articles."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from safe_exp.config import EvaluateConfig
from safe_exp.config.threshold import BEST
from safe_exp.data.labelled_folder import ScoredFolder, encode_folder
from safe_exp.data.reading.articles import list_reasons
from safe_exp.data.reading.readers import readers
from safe_exp.equations.safe import map_tensors
from safe_exp.inference.members import group_members, mean_output
from safe_exp.runs.ensemble import StoredModel
from safe_exp.runs.open_run import open_run
from safe_exp.runs.processes import is_first_process
from safe_exp.scoring.intervals import split_intervals
from safe_exp.scoring.results import Predictions, split_predictions, write_metrics, write_predictions
from safe_exp.scoring.scores import Judgement, SplitScores, split_figures
from safe_exp.scoring.table import print_results
from safe_exp.scoring.trust import trust_lines
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path, write_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """Scores of a stored run on labelled articles."""

    metrics: dict[str, Any]  # as metrics.json has them; an undefined figure, such as AUROC of one class, is NaN
    predictions: Predictions  # of the scored articles
    manifest: dict[str, Any]  # as data_manifest.json has it: counts, and the articles left out with their reasons


def evaluate(config: EvaluateConfig, folder: Path) -> float:
    """Score every article below `config.data.root`, or on its given test side; write the files; return the AUROC.

    Args:
        folder: gets metrics.json, predictions.csv and data_manifest.json.
    Raises:
        UserError: as `score_articles`.
    """
    start = time.perf_counter()
    stored = open_run(Path(config.run), config.checkpoint)
    stored = stored.with_captioner(config.captioner).with_transformer(config.vectors.model)
    found = score_articles(config, stored, start)
    if is_first_process():
        _write(found, config, stored, folder)
    return found.metrics["test"]["prediction"]["auroc"]


@torch.inference_mode()
def score_articles(
    config: EvaluateConfig, stored: StoredModel, start: float | None = None, device: torch.device | str = "cpu"
) -> Evaluation:
    """Score every article below `config.data.root`, or on its given test side; nothing is printed or written.

    Vocabulary, word vectors and limits of length are the run's own; nothing else of its training data is needed.

    Args:
        stored: the run that `config.run` names, read already.
        start: begin of the work, by time.perf_counter; None: now.
        device: computes the forward passes.
    Raises:
        UserError: the articles cannot be used, or the run lacks the calibration that `config` asks for.
    """
    start = time.perf_counter() if start is None else start
    _require_chosen_data(config, stored)
    groups = group_members(stored, device=device)
    scored = encode_folder(
        config.data,
        [group.artifacts for group in groups],
        groups[0].variant.reads,
        trained=[member.artifacts for member in stored.members],
    )
    if seen := describe_trained_on(scored):
        log.warning("%s", seen)
    scores = SplitScores()
    for batches in zip(*scored.loaders, strict=True):  # the same articles, encoded for each group
        outputs = [output for group, batch in zip(groups, batches, strict=True) for output, _ in group.forward(batch)]
        scores.update(batches[0], map_tensors(Tensor.cpu, mean_output(outputs)))
    split, judgement = scores.scored(), Judgement(stored.calibration, config.threshold)
    if config.threshold == BEST and stored.calibration is None:
        raise UserError(f"threshold=best: {stored.explain_missing_calibration()} Give a number, such as 0.5.")
    figures = split_figures(split, stored.loss_settings, judgement)
    figures["intervals"] = split_intervals(split, stored.loss_settings, judgement)
    predictions = split_predictions("test", scored.ids, split, figures["thresholds"]["prediction"])
    jobs = {"jobs": dict(stored.jobs)} if stored.jobs else {}
    metrics = {
        "test": figures,
        "run": str(Path(config.run)),
        **jobs,
        "checkpoint": config.checkpoint,
        "seconds": round(time.perf_counter() - start, 3),
        "data": {"test": scored.scored, "left_out": len(scored.left_out), "fingerprint": scored.fingerprint},
    }
    return Evaluation(metrics, predictions, scored.manifest() | jobs)


def _write(found: Evaluation, config: EvaluateConfig, stored: StoredModel, folder: Path) -> None:
    """Write the files of an evaluation, and print its figures."""
    figures, manifest = found.metrics["test"], found.manifest
    write_predictions(folder / "predictions.csv", [found.predictions])
    write_json(folder / "data_manifest.json", found.manifest)
    write_metrics(folder / "metrics.json", found.metrics)
    print_results(found.metrics, Console(), {"test": figures["articles"]["majority_rate"]})
    for line in trust_lines(figures, config.threshold, stored.fitted_on):
        log.info("%s", line)
    if left_out := manifest["left_out"]["by_reason"]:
        reasons, listed = list_reasons(left_out), short_path(folder / "data_manifest.json")
        log.info("Left out %d: %s; %s lists them.", sum(left_out.values()), reasons, listed)
    if others := manifest.get("other_sides"):
        log.info("data.split=given: the %d articles of other sides than test are not scored.", others)
    log.info("Scored %d articles. Everything is in %s", manifest["scored"], short_path(folder))


def describe_trained_on(scored: ScoredFolder) -> str | None:
    """Write the warning that some of the articles are known from the training; None where none is."""
    by_id, by_words = map(len, scored.trained_on)
    ids = "have the ids of articles that this run was trained on"
    words = "have the words, or nearly the words, of articles that this run was trained on"
    if by_id and by_words:
        found = f"{by_id} of the {scored.scored} articles {ids}, and {by_words} others {words}"
    elif by_id:
        found = f"{by_id} of the {scored.scored} articles {ids}"
    elif by_words:
        found = f"{by_words} of the {scored.scored} articles {words}"
    else:
        return None
    return (
        f"{found}; figures that include them flatter the model. data_manifest.json lists them (trained_on): take them "
        "out of the articles to be scored."
    )


def _require_chosen_data(config: EvaluateConfig, stored: StoredModel) -> None:
    """Refuse to score a run that was trained on other articles with the default, the built-in articles."""
    built_in, trained = readers[config.data.name].write is not None, stored.members[0].artifacts.manifest.get("name")
    if built_in and trained != config.data.name:
        raise UserError(
            f"run={stored.source} was trained with data={trained}, and evaluate was not told what to score. Give the "
            "articles, as in data=fakenewsnet data.root=PATH or data=table data.root=FILE."
        )
