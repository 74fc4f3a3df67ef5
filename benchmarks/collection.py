"""A whole training on a large collection: minutes, memory and articles per second: python -m benchmarks.collection

20,000 drawn articles, model=released at its own size (E = 300, M = 32, K = 128, Adam, batches of 64), 20 epochs of
`trainer.fit` as in a job, in a process of its own. A second row has one epoch with E = 25: memory must grow with the
number of tokens, and not with tokens × E.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.loop import DrawnArticles, fit, load_config
from benchmarks.measure import machine, table
from safe_exp.training.threads import set_threads
from safe_exp.training.trainer import quiet_libraries

VOCABULARY = 30_000


def job(articles: int, epochs: int, dim: int, threads: int) -> dict[str, float]:
    """Train in this process, and measure time and memory."""
    quiet_libraries()
    config = load_config(
        "model=released", "optimizer=adam", "model.gamma=0.0005", "data.batch_size=64", "logger=csv",
        f"vectors.dim={dim}", f"trainer.max_epochs={epochs}", f"threads={threads}",
    )  # fmt: skip
    set_threads(config, dim)
    drawn = DrawnArticles(config, articles, VOCABULARY)
    before = _megabytes()
    with tempfile.TemporaryDirectory(prefix="safe_exp-benchmark-") as folder:
        took, module = fit(config, drawn, Path(folder))
    loss = float(module.trainer.callback_metrics["train/loss"])
    seen = epochs * len(drawn.split.train)
    memory = {"before": before, "peak": _megabytes()}
    processor_minutes = took.processor_seconds / 60
    return {
        "seconds": took.seconds,
        "per_second": seen / took.seconds,
        "processor_minutes": processor_minutes,
        "loss": loss,
    } | memory


def _megabytes() -> float:
    """Return the peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def run_job(articles: int, epochs: int, dim: int, threads: int) -> dict[str, float]:
    """Run `job` in a new process, whose peak memory is then its own."""
    numbers = [str(number) for number in (articles, epochs, dim, threads)]
    command = [sys.executable, "-m", "benchmarks.collection", "--job", *numbers]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collection", description=__doc__.splitlines()[0])
    parser.add_argument("--articles", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--dim", type=int, default=300, help="E (default 300)")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--job", nargs=4, type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.job:
        print(json.dumps(job(*chosen.job)))
        return
    rows = []
    for epochs, dim in ((chosen.epochs, chosen.dim), (1, 25)):
        found = run_job(chosen.articles, epochs, dim, chosen.threads)
        rows.append(
            [
                f"{chosen.articles:,} articles × {epochs} epochs, E = {dim}",
                f"{found['seconds'] / 60:.1f}",
                f"{found['processor_minutes']:.1f}",
                f"{found['per_second']:,.0f}",
                f"{found['peak']:,.0f} MB ({found['before']:,.0f} before the training)",
            ]
        )
        print(f"{rows[-1]}; loss {found['loss']:.3f}", file=sys.stderr, flush=True)
    torch.set_num_threads(chosen.threads)
    header = ["", "minutes", "processor minutes", "training articles per second, validation included", "peak memory"]
    print(f"{machine()}\n\n{table(header, rows)}")


if __name__ == "__main__":
    main()
