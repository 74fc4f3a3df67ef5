"""The rules that choose the weights of a run, compared on your articles: python -m benchmarks.selection OVERRIDES

There is one training for each split, fold and seed, and every rule is scored on test from that same training:

    python -m benchmarks.selection experiment=recovery data.root=PATH vectors.model=FOLDER --refit --csv rules.csv

Test articles score the rules, so the best figure of the table is no result of a model. With --refit a second training
is added, on training and validation articles together, for as many epochs.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.loop import load_config
from benchmarks.measure import machine, table
from safe_exp.config import Select, TrainConfig
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.data.encoded import NewsLoader
from safe_exp.network.variants import variants
from safe_exp.scoring.scores import scorer_figures
from safe_exp.training.averaging import AveragedWeights
from safe_exp.training.hooks import find_callbacks
from safe_exp.training.module import SafeModule
from safe_exp.training.refit import RefitPlan, run_refit
from safe_exp.training.selection import EpochOutputs, choose_weights, count_publishers
from safe_exp.training.threads import set_threads
from safe_exp.training.trainer import build_trainer, quiet_libraries

EMA_EPOCHS = 3  # time constant of the exponential moving average
FIGURES = ("auroc", "accuracy", "f1")
HEADER = ["split", "rule", "AUROC", "accuracy", "F1 of fake", "epoch", "AUROC, mean logit of the seeds"]
CSV_HEADER = ["split", "fold", "seed", "rule", "epoch", *FIGURES, "seconds"]
BEST_LOSS, BEST_AUROC, LAST = "best `val/loss_prediction`", "best `val/auroc`", "last epoch"
CROSS_VALIDATED = "epoch with the least mean `val/loss_prediction` of the other folds"
AVERAGE = "`callbacks.select=average`"
REFITTED = "last epoch, refitted on train and val"


class Scored(NamedTuple):
    """A side of a split as a network scores it."""

    logit: Tensor  # (N,) of fake
    label: Tensor  # (N,) 1 = fake

    @property
    def loss(self) -> float:
        """L_p, the mean over the articles."""
        return float(F.binary_cross_entropy_with_logits(self.logit, self.label.to(self.logit)))

    def figures(self) -> dict[str, float]:
        """The figures of `scorer_figures`, at a threshold of 0.5."""
        return scorer_figures(self.logit.sigmoid(), self.label)


class Kept(NamedTuple):
    """The weights that a rule keeps, as they score the test side."""

    epoch: int | None  # counted from 1; None for an average of epochs
    test: Scored


class Course(Callback):
    """Scores val and test after every epoch, and averages the weights in two ways."""

    def __init__(self, loaders: dict[str, NewsLoader]) -> None:
        self.loaders = loaders
        self.epochs: dict[str, list[Scored]] = {name: [] for name in loaders}
        self.averages: dict[str, AveragedModel] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: SafeModule) -> None:
        decay = 1 - 1 / (EMA_EPOCHS * trainer.num_training_batches)
        self.averages = {
            "average of the last third of the epochs": AveragedModel(pl_module.network),
            f"exponential moving average over {EMA_EPOCHS} epochs": AveragedModel(
                pl_module.network, multi_avg_fn=get_ema_multi_avg_fn(decay)
            ),
        }
        self.last_third, self.moving = self.averages.values()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: SafeModule, *arguments: Any) -> None:
        self.moving.update_parameters(pl_module.network)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SafeModule) -> None:
        if 3 * (trainer.current_epoch + 1) > 2 * trainer.max_epochs:
            self.last_third.update_parameters(pl_module.network)
        for name, loader in self.loaders.items():
            self.epochs[name].append(score(pl_module, pl_module.network, loader))


@torch.no_grad()
def score(module: SafeModule, network: nn.Module, loader: NewsLoader) -> Scored:
    """Score the articles of a loader by a network that reads what the module's own does."""
    outputs = [(network(**module.embed(batch)).logits, batch.label) for batch in loader]
    logits, labels = (torch.cat(parts).cpu() for parts in zip(*outputs, strict=True))
    return Scored((logits[:, 0] - logits[:, 1]).double(), labels)


def train_once(
    config: TrainConfig, data: FakeNewsNetDataModule, folder: Path, refit: bool
) -> tuple[dict[str, Kept], list[Scored], list[Scored]]:
    """Train one job.

    Args:
        data: after `setup`; its articles are ordered by the job's seed.
        folder: of the run, for its checkpoints.
        refit: train once more, on val as well.
    Returns:
        The weights that each rule keeps that looks at this job alone, and val and test after each epoch.
    """
    pl.seed_everything(config.seed, workers=True, verbose=False)
    module = SafeModule(config, data.text_vectors, data.visual_vectors)
    data.seed = config.seed
    trainer = build_trainer(config, folder, [])
    course = Course({"val": data.val_dataloader(), "test": data.test_dataloader()})
    trainer.callbacks.append(course)
    trainer.fit(module, data)
    val, test = course.epochs["val"], course.epochs["test"]
    count = len(test)
    by_loss, by_auroc = [epoch.loss for epoch in val], [epoch.figures()["auroc"] for epoch in val]
    best = {BEST_LOSS: by_loss.index(min(by_loss)), BEST_AUROC: by_auroc.index(max(by_auroc)), LAST: count - 1}
    kept = {rule: Kept(epoch + 1, test[epoch]) for rule, epoch in best.items()}

    def score_test(network: nn.Module) -> Kept:
        return Kept(None, score(module, network, course.loaders["test"]))

    kept |= {rule: score_test(average.module) for rule, average in course.averages.items()}
    own = {name: value.clone() for name, value in module.state_dict().items()}
    module.load_state_dict(find_callbacks(trainer, AveragedWeights)[0].fill(own))
    kept[AVERAGE] = score_test(module.network)
    outputs = find_callbacks(trainer, EpochOutputs)[0]
    automatic = replace(config.callbacks, select=Select.auto)
    choice = choose_weights(automatic, outputs, count, module.loss_settings, count_publishers(data))
    best_epoch = Kept(choice.epoch + 1, test[choice.epoch])
    kept["`callbacks.select=auto`"] = best_epoch if choice.rule is Select.best else kept[AVERAGE]
    if refit:
        plan = RefitPlan(("train", "val"), count, averages=False, reason="as many as without them")
        _, weights = run_refit(config, data, folder, plan)
        module.load_state_dict(weights)
        kept[REFITTED] = Kept(count, score(module, module.network, course.loaders["test"]))
    return kept, val, test


def study(overrides: Sequence[str], splits: Sequence[str], folds: int, seeds: Sequence[int], refit: bool) -> list[dict]:
    """Train every job.

    Returns:
        One row for each job and rule: the columns of CSV_HEADER, and `test`, as the rule's weights score it.
    """
    quiet_libraries()
    rows = []
    courses: dict[tuple[str, int, int], tuple[list[Scored], list[Scored]]] = {}
    for split, fold in product(splits, range(folds)):
        asked = (*overrides, "logger=none", f"data.split={split}", f"data.folds={folds}", f"data.fold={fold}")
        data = None
        for seed in seeds:
            start = time.perf_counter()
            config = load_config(*asked, f"seed={seed}")
            data = data or read_fold(config)
            with tempfile.TemporaryDirectory(prefix="safe_exp-benchmark-") as folder:
                kept, *courses[split, fold, seed] = train_once(config, data, Path(folder), refit)
            seconds = round(time.perf_counter() - start, 1)
            rows += [_row(split, fold, seed, rule, found, seconds) for rule, found in kept.items()]
            done = f"{len(courses)} of {len(splits) * folds * len(seeds)}"
            print(f"{done}: split={split} fold={fold} seed={seed}, {seconds} s", file=sys.stderr, flush=True)
    for (split, fold, seed), (_, test) in courses.items():
        others = [courses[split, other, seed][0] for other in range(folds) if other != fold]
        # Up to the last epoch of the shortest training: one that has converged ends before the others.
        losses = [statistics.fmean(epoch.loss for epoch in epochs[1:]) for epochs in zip(test, *others, strict=False)]
        epoch = losses.index(min(losses))
        rows.append(_row(split, fold, seed, CROSS_VALIDATED, Kept(epoch + 1, test[epoch]), 0.0))
    return rows


def read_fold(config: TrainConfig) -> FakeNewsNetDataModule:
    """Read the articles of a job, and set PyTorch's threads as the job does."""
    data = FakeNewsNetDataModule(
        config.data, config.captioner, config.vectors, config.seed,
        reads=variants[config.model.variant].reads, article_weights=config.model.article_weights,
    )  # fmt: skip
    data.setup("fit")
    set_threads(config, data.vector_dim)
    return data


def _row(split: str, fold: int, seed: int, rule: str, kept: Kept, seconds: float) -> dict[str, Any]:
    figures = kept.test.figures()
    found = {"split": split, "fold": fold, "seed": seed, "rule": rule, "epoch": kept.epoch, "seconds": seconds}
    return found | {name: figures[name] for name in FIGURES} | {"test": kept.test}


def summarise(rows: Sequence[dict]) -> list[list[str]]:
    """Average the rows of each split and rule over folds and seeds, as lines of the table."""
    lines = []
    for split, rule in dict.fromkeys((row["split"], row["rule"]) for row in rows):
        found = [row for row in rows if (row["split"], row["rule"]) == (split, rule)]
        epochs = [row["epoch"] for row in found if row["epoch"] is not None]
        together = []
        for fold in dict.fromkeys(row["fold"] for row in found):
            tests = [row["test"] for row in found if row["fold"] == fold]
            mean = Scored(torch.stack([test.logit for test in tests]).mean(dim=0), tests[0].label)
            together.append(mean.figures()["auroc"])
        cells = [_spread([row[name] for row in found]) for name in FIGURES]
        kept = f"{statistics.fmean(epochs):.1f}" if len(epochs) == len(found) else "–"
        lines.append([split, rule, *cells, kept, f"{statistics.fmean(together):.3f}"])
    return lines


def _spread(values: Sequence[float]) -> str:
    """Format mean ± standard deviation."""
    return f"{statistics.fmean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.selection", description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", help="of `python -m safe_exp.train`, such as experiment=recovery")
    parser.add_argument("--splits", nargs="+", default=["source", "random"], help="values of data.split")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--refit", action="store_true", help="train a second time, on train and val together")
    parser.add_argument("--csv", type=Path, help="file for the figures of each training")
    chosen = parser.parse_intermixed_args(arguments)
    start = time.perf_counter()
    rows = study(chosen.overrides, chosen.splits, chosen.folds, chosen.seeds, chosen.refit)
    if chosen.csv:
        with chosen.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, CSV_HEADER, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    minutes = (time.perf_counter() - start) / 60
    per_split = chosen.folds * len(chosen.seeds)
    print(f"{machine()}; {per_split} trainings a split, {minutes:.0f} minutes\n\n{table(HEADER, summarise(rows))}")


if __name__ == "__main__":
    main()
