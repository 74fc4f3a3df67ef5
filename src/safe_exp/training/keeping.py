"""The weights that a job keeps: chosen after the training or trained anew in a refit, scored, and written."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from safe_exp.config import Select
from safe_exp.equations.safe import map_tensors
from safe_exp.runs.checkpoints import best_epoch_path, keep_weights, read_checkpoint
from safe_exp.scoring.calibration import FOLDS, VALIDATION
from safe_exp.scoring.results import logged_figures, score_results
from safe_exp.scoring.scores import split_figures
from safe_exp.training.averaging import AveragedWeights
from safe_exp.training.folds import read_folds
from safe_exp.training.hooks import find_callbacks
from safe_exp.training.job import PreparedJob, ScoredJob
from safe_exp.training.refit import ALL, RefitPlan, refit_sides, run_refit
from safe_exp.training.selection import Choice, EpochOutputs, choose_weights, count_publishers, describe_choice
from safe_exp.training.writing import epoch_history

log = logging.getLogger(__name__)


def score(job: PreparedJob) -> ScoredJob:
    """Choose the weights that the job keeps, train them anew on more articles under refit, and score both splits.

    Validation is scored by the model that was not trained on it, and so is test under refit=all.
    """
    trainer, module, config = job.trainer, job.module, job.config
    checkpoints = trainer.checkpoint_callback
    has_best = isinstance(checkpoints, ModelCheckpoint) and checkpoints.best_model_path
    best_epoch, choice = _load_chosen(job) if has_best else (None, None)
    trainer.validate(module, datamodule=job.data, verbose=False)
    validated, kept = module.logged, {} if choice is None else {"selection": choice.plain()}
    if config.refit == ALL:
        trainer.test(module, datamodule=job.data, verbose=False)
    if choice is not None and config.refit:
        plan = _plan_refit(job, choice)
        _, weights = run_refit(config, job.data, job.folder, plan, devices=job.devices)
        module.load_state_dict(weights)
        kept["refit"] = record_refit(job, plan, VALIDATION, "validation predictions of the model before the refit")
    elif choice is not None and choice.rule is not Select.best and trainer.is_global_zero:
        keep_weights(job.folder / "checkpoints", module.state_dict(), choice.rule.value)
    if config.refit != ALL:
        trainer.test(module, datamodule=job.data, verbose=False)
    combines, threshold = module.variant.combines, config.threshold
    results = score_results(module.scored, job.data.ids, module.loss_settings, combines, threshold)
    module.report(logged_figures("test", results.metrics["test"], module.scored["test"]))
    return ScoredJob(best_epoch, results, validated, kept)


def _load_chosen(job: PreparedJob) -> tuple[int, Choice]:
    """Choose the weights after the last epoch and load them.

    Returns:
        The best epoch, counted from 0, and the choice.
    """
    trainer, module = job.trainer, job.module
    checkpoint = read_checkpoint(best_epoch_path(job.folder / "checkpoints"), module.device)
    outputs, epochs = find_callbacks(trainer, EpochOutputs)[0], len(epoch_history(trainer))
    choice = choose_weights(job.config.callbacks, outputs, epochs, module.loss_settings, count_publishers(job.data))
    if (line := describe_choice(job.config.callbacks, choice)) and trainer.is_global_zero:
        log.info("%s", line)
    if choice.rule is Select.best:
        choice = choice._replace(epoch=checkpoint["epoch"])  # a run of an earlier version has no outputs of all epochs
        module.load_state_dict(checkpoint["state_dict"])
    elif choice.rule is Select.average:
        module.load_state_dict(find_callbacks(trainer, AveragedWeights)[0].fill(module.state_dict()))
    return checkpoint["epoch"], choice


def _plan_refit(job: PreparedJob, choice: Choice) -> RefitPlan:
    """Plan the refit after a training: as many epochs as the chosen weights have seen."""
    kept = "the best epoch" if choice.rule is Select.best else "all epochs"
    reason = f"as many as {kept} of the training without them"
    return RefitPlan(refit_sides(job.config.refit), choice.epoch + 1, choice.rule is Select.average, reason)


def record_refit(job: PreparedJob, plan: RefitPlan, fitted_on: str, calibrated_on: str) -> dict[str, Any]:
    """Write the refitted weights, which the module holds, to best.ckpt, and its articles to the artifacts.

    Args:
        fitted_on: the articles of the calibration, VALIDATION or FOLDS.
        calibrated_on: the predictions that calibration and thresholds are fitted on.
    Returns:
        The entry "refit" of metrics.json.
    """
    if job.trainer.is_global_zero:
        job.data.record_refit(plan.sides, fitted_on)  # first: a model is never there without its articles
        job.data.save_artifacts(job.folder / "artifacts")
        keep_weights(job.folder / "checkpoints", job.module.state_dict(), "refit")
    articles = sum(len(job.data.split.sides()[side]) for side in plan.sides)
    scored_test = "the model before the refit" if job.config.refit == ALL else "the refitted model"
    return plan.plain(articles, scored_test, calibrated_on)


def refit_by_folds(job: PreparedJob) -> tuple[PreparedJob, ScoredJob]:
    """Train the job's only model as long as the jobs of a sweep over folds were, and calibrate it on their predictions.

    The articles' predictions by the folds that did not see them stand for validation; under refit=all for test too.

    Returns:
        The job with the Trainer of the refit, and its scores.
    Raises:
        UserError: the sweep cannot be used.
    """
    config, module, data = job.config, job.module, job.data
    sweep = read_folds(str(config.refit_from), data, dict(module.hparams))
    reason = f"the median of {sweep.jobs} jobs of {config.refit_from}"
    plan = RefitPlan(refit_sides(config.refit), sweep.epochs, sweep.rule is Select.average, reason)
    trainer, weights = run_refit(config, data, job.folder, plan, "last", job.devices)
    module.load_state_dict(weights)
    job = job._replace(trainer=trainer)
    refitted = record_refit(job, plan, FOLDS, f"{FOLDS} of {config.refit_from}")
    unseen = ~np.isin(sweep.scored.rows.numpy(), data.split.test)  # by the refitted model: else test would calibrate
    held_out = sweep.scored if config.refit == ALL else map_tensors(lambda c: c[torch.from_numpy(unseen)], sweep.scored)
    scored = {"val": held_out, "test": sweep.scored}
    if config.refit == ALL:
        refitted["test_scored_by"] = f"the jobs of {config.refit_from}, each on its own fold"
    else:
        trainer.test(module, data.test_dataloader(), verbose=False)
        scored["test"] = module.scored["test"]
    results = score_results(scored, data.ids, module.loss_settings, module.variant.combines, config.threshold)
    validated = logged_figures("val", split_figures(held_out, module.loss_settings), held_out)
    return job, ScoredJob(None, results, validated, {"refit": refitted})
