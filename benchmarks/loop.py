"""The cost of Lightning's loop: `trainer.fit` against a bare Python loop over the same steps: python -m benchmarks.loop

Both take the same batches in the same order, the same closed-form steps and the same optimiser, score the validation
articles after every epoch, and end at the same weights. `fit` runs as in a job, with callbacks, checkpoints after every
epoch, gradient norms, progress lines and the CSV logger (in the last column also with W&B, offline).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir

from benchmarks.measure import machine, ratio, table
from benchmarks.step import Size, draw_words
from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, TrainConfig, typed_config
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.data.encoded import EncodedArticles, Sentences
from safe_exp.network.variants import variants
from safe_exp.runs.loggers import close_loggers, open_loggers
from safe_exp.scoring.scores import SplitScores, split_figures
from safe_exp.training.module import SafeModule
from safe_exp.training.trainer import build_trainer, quiet_libraries

TITLE_WORDS = 10


class DrawnArticles(FakeNewsNetDataModule):
    """Articles of drawn word numbers, each with half to all of the words that a text may have, by Zipf's law."""

    def __init__(self, config: TrainConfig, count: int, vocabulary: int = 6000) -> None:
        super().__init__(config.data, config.captioner, config.vectors, config.seed)
        torch.manual_seed(0)
        vectors = torch.randn(vocabulary, config.vectors.dim)
        vectors[0] = 0
        label = torch.arange(count) % 2
        text, visual = (
            self._sentences(count, n, vectors) for n in (config.data.max_text_tokens, config.data.max_visual_tokens)
        )
        self.encoded = EncodedArticles(text, visual, label, torch.full((count,), TITLE_WORDS))
        self.text_vectors = self.visual_vectors = vectors
        rows = np.random.default_rng(0).permutation(count)
        bounds = [0, round(0.65 * count), round(0.8 * count), count]
        sides = {n: np.sort(rows[a:b]) for n, a, b in zip(("train", "val", "test"), bounds, bounds[1:], strict=False)}
        self.split = SimpleNamespace(**sides)

    def prepare_data(self) -> None:
        """Do nothing: the articles are drawn."""

    def setup(self, stage: str | None = None) -> None:
        """Do nothing: the articles are drawn."""

    def _sentences(self, count: int, longest: int, vectors: torch.Tensor) -> Sentences:
        """Draw `count` sentences of `longest` / 2 to `longest` words from the table of word vectors (V, E)."""
        tokens = draw_words(Size(count, vectors.shape[1], 1), longest, vectors).tokens.int()
        lengths = torch.randint(longest // 2, longest + 1, (count,))
        tokens[torch.arange(longest) >= lengths[:, None]] = 0
        return Sentences.from_matrix(tokens.numpy(), np.arange(len(vectors)))


class Stopwatch:
    """Measures wall seconds and processor seconds; other work of the machine does not count in the latter."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Set `seconds` and `processor_seconds`."""
        self.seconds, self.processor_seconds = (
            time.perf_counter() - self._start[0],
            time.process_time() - self._start[1],
        )


def load_config(*overrides: str) -> TrainConfig:
    """Compose the config of a training that does not end by convergence."""
    register_schemas()
    register_resolvers()
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return typed_config(compose("train", overrides=["callbacks.convergence.patience=0", *overrides]))


def fit(config: TrainConfig, articles: DrawnArticles, folder: Path) -> tuple[Stopwatch, SafeModule]:
    """Train by `trainer.fit`; the start and end of the loggers are not measured."""
    pl.seed_everything(config.seed, verbose=False)
    module = SafeModule(config, articles.text_vectors, articles.visual_vectors)
    loggers = open_loggers(config.logger, folder, "benchmark", None, {})
    trainer = build_trainer(config, folder, loggers)
    took = Stopwatch()
    trainer.fit(module, articles)
    took.stop()
    close_loggers(loggers, 0)
    articles.trainer = None
    return took, module


def bare_loop(config: TrainConfig, articles: DrawnArticles) -> tuple[Stopwatch, SafeModule]:
    """Run the same training without Lightning."""
    pl.seed_everything(config.seed, verbose=False)
    module = SafeModule(config, articles.text_vectors, articles.visual_vectors)
    network, step = module.network, variants[config.model.variant].step
    parameters = dict(network.named_parameters())
    optimizer = module.configure_optimizers()
    took = Stopwatch()
    training, validation = articles.train_dataloader(), articles.val_dataloader()
    for epoch in range(config.trainer.max_epochs):
        training.batch_sampler.sampler.set_epoch(epoch)
        total = torch.zeros(())
        for batch in training:
            _, losses, gradients = step(network, label=batch.label, **module.embed(batch), **module.loss_settings)
            for name, parameter in parameters.items():
                parameter.grad = gradients[name]
            optimizer.step()
            total += losses.total * len(batch.label)
        scores = SplitScores()
        with torch.no_grad():
            for batch in validation:
                scores.update(batch, network(**module.embed(batch)))
        split_figures(scores.scored(), module.loss_settings)
    took.stop()
    return took, module


def loop_row(count: int, epochs: int, num_filters: int, rounds: int, wandb: bool) -> list[str]:
    """Measure one line of the table."""
    overrides = f"trainer.max_epochs={epochs}", f"model.num_filters={num_filters}"
    config = load_config(*overrides, "logger=csv")
    articles = DrawnArticles(config, count)
    with tempfile.TemporaryDirectory(prefix="safe_exp-benchmark-") as folder:
        ways: dict[str, Callable[[Path], tuple[Stopwatch, SafeModule]]] = {
            "bare": lambda _: bare_loop(config, articles),
            "csv": lambda run: fit(config, articles, run),
        }
        if wandb:
            both = load_config(*overrides, "logger=default")
            ways["wandb"] = lambda run: fit(both, articles, run)
        times: dict[str, list[Stopwatch]] = {name: [] for name in ways}
        weights: dict[str, torch.Tensor] = {}
        for number in range(rounds + 1):  # the first round is not counted: it chooses kernels and imports
            for name, way in ways.items():
                took, module = way(Path(folder, f"{name}-{number}"))
                times[name] += [took] if number else []
                weights[name] = torch.cat([p.detach().flatten() for p in module.network.parameters()])
                assert torch.equal(weights[name], weights["bare"]), "the two loops train different weights"
    seconds = {name: [took.seconds for took in found] for name, found in times.items()}
    processor = {name: [took.processor_seconds for took in found] for name, found in times.items()}
    steps = epochs * len(articles.train_dataloader())
    name = f"{count:,} articles × {epochs} epochs, K = {num_filters}"
    row = [name, *(f"{statistics.median(seconds[way]) / steps * 1e3:.2f}" for way in ("bare", "csv"))]
    row += [ratio(figures["csv"], figures["bare"]) for figures in (seconds, processor)]
    row.append(ratio(processor["wandb"], processor["bare"]) if wandb else "")
    print(row, file=sys.stderr, flush=True)  # shows progress
    return row


HEADER = [
    "", "bare loop, ms a step", "`trainer.fit`, ms a step", "ratio", "ratio of processor time", "the same with W&B"
]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each, interleaved (default 7)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (default 1, as such steps take by default)")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to check in a second that everything runs")
    chosen = parser.parse_args(arguments)
    threads, mode = torch.get_num_threads(), os.environ.get("WANDB_MODE")
    torch.set_num_threads(chosen.threads)
    os.environ["WANDB_MODE"] = "disabled" if chosen.tiny else "offline"
    quiet_libraries()
    cases = (
        [(60, 2, 2, True)]
        if chosen.tiny
        else [(800, 40, 32, True), (800, 40, 1, False), (20_000, 1, 32, False), (20_000, 1, 1, False)]
    )
    try:
        rows = [loop_row(count, epochs, k, chosen.rounds, wandb) for count, epochs, k, wandb in cases]
        print(f"{machine()}; {chosen.rounds} rounds, median (middle half)\n\n{table(HEADER, rows)}")
    finally:
        torch.set_num_threads(threads)
        os.environ.pop("WANDB_MODE")
        os.environ.update({} if mode is None else {"WANDB_MODE": mode})


if __name__ == "__main__":
    main()
