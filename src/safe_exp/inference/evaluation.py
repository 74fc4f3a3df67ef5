"""Scores of a stored run, or of the jobs of a sweep as one model, on a folder of labelled articles."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import torch
from rich.console import Console

from safe_exp.config import EvaluateConfig
from safe_exp.config.threshold import BEST
from safe_exp.data.labelled_folder import ScoredFolder, encode_folder
from safe_exp.data.reading.articles import count_reasons, list_reasons
from safe_exp.data.reading.readers import readers
from safe_exp.inference.members import group_members, mean_output
from safe_exp.runs.ensemble import StoredModel
from safe_exp.runs.open_run import open_run
from safe_exp.runs.processes import is_first_process
from safe_exp.scoring.intervals import split_intervals
from safe_exp.scoring.results import split_predictions, trust_lines, write_metrics, write_predictions
from safe_exp.scoring.scores import Judgement, SplitScores, split_figures
from safe_exp.scoring.table import print_results
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path, write_json

log = logging.getLogger(__name__)


@torch.inference_mode()
def evaluate(config: EvaluateConfig, folder: Path) -> float:
    """Score every article below `config.data.root`, or on its given test side; write the files; return the AUROC.

    Vocabulary, word vectors and limits of length are the run's own; nothing else of its training data is needed.

    Args:
        folder: gets metrics.json, predictions.csv and data_manifest.json.
    Raises:
        UserError: the run or the articles cannot be used, or the run lacks the calibration that `config` asks for.
    """
    start = time.perf_counter()
    run = Path(config.run)
    stored = open_run(run, config.checkpoint)
    stored = stored.with_captioner(config.captioner).with_transformer(config.vectors.model)
    _require_chosen_data(config, stored)
    groups = group_members(stored)
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
        scores.update(batches[0], mean_output(outputs))
    split, judgement = scores.scored(), Judgement(stored.calibration, config.threshold)
    if config.threshold == BEST and stored.calibration is None:
        raise UserError(f"threshold=best: {stored.explain_missing_calibration()} Give a number, such as 0.5.")
    figures = split_figures(split, stored.loss_settings, judgement)
    figures["intervals"] = split_intervals(split, stored.loss_settings, judgement)
    predictions = split_predictions("test", scored.ids, split, figures["thresholds"]["prediction"])
    jobs = {"jobs": dict(stored.jobs)} if stored.jobs else {}
    metrics = {
        "test": figures,
        "run": str(run),
        **jobs,
        "checkpoint": config.checkpoint,
        "seconds": round(time.perf_counter() - start, 3),
        "data": {"test": scored.scored, "left_out": len(scored.left_out), "fingerprint": scored.fingerprint},
    }
    if is_first_process():
        write_predictions(folder / "predictions.csv", [predictions])
        write_json(folder / "data_manifest.json", scored.manifest() | jobs)
        write_metrics(folder / "metrics.json", metrics)
        print_results(metrics, Console(), {"test": figures["articles"]["majority_rate"]})
        for line in trust_lines(figures, config.threshold, stored.fitted_on):
            log.info("%s", line)
        if scored.left_out:
            reasons = list_reasons(count_reasons(scored.left_out))
            listed = short_path(folder / "data_manifest.json")
            log.info("Left out %d: %s; %s lists them.", len(scored.left_out), reasons, listed)
        if scored.other_sides:
            log.info("data.split=given: the %d articles of other sides than test are not scored.", scored.other_sides)
        log.info("Scored %d articles. Everything is in %s", scored.scored, short_path(folder))
    return figures["prediction"]["auroc"]


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
