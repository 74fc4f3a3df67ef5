"""Steps per second on a GPU: python -m benchmarks.gpu

Batches are selected from a table of word numbers on the GPU, as in the data module, and looked up there. A step is
forward pass, gradients and SGD; nothing is read back before the last step. Sizes are E = 300, K = 128, in float32, in
float32 with TF32 products, and in bfloat16. Without a GPU nothing is measured, except with --tiny on the processor.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measure import machine, ratio, table
from benchmarks.ports import PortedSafe
from benchmarks.step import FEATURE_DIM, FILTER_SIZES, LOSS, Size, draw_words
from safe_exp.data.batch import NewsBatch
from safe_exp.data.encoded import EncodedArticles, NewsLoader, Sentences
from safe_exp.data.sampler import ArticleOrder, GlobalBatches
from safe_exp.equations import closed_form_step, safe_loss
from safe_exp.network import SafeNetwork

PRECISIONS = {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
BATCHES_IN_TABLE = 4


def draw_loader(size: Size, device: torch.device) -> NewsLoader:
    """Draw articles of full length, so that every way of taking a step does the same work."""
    count = size.batch * BATCHES_IN_TABLE
    vectors = torch.zeros(size.vocabulary, 1)
    numbers = np.arange(size.vocabulary)
    text, visual = (
        Sentences.from_matrix(draw_words(Size(count, 1, 1), length, vectors).tokens.int().numpy(), numbers)
        for length in (size.text, size.visual)
    )
    articles = EncodedArticles(text, visual, torch.arange(count) % 2, torch.zeros(count, dtype=torch.int64)).to(device)
    return NewsLoader(articles, GlobalBatches(ArticleOrder(np.arange(count), seed=0), size.batch))


def ways(size: Size, device: torch.device, dtype: torch.dtype) -> dict[str, Callable[[NewsBatch], object]]:
    """Build each way of taking a step on a batch."""
    vectors = torch.randn(size.vocabulary, size.dim, dtype=dtype, device=device)
    vectors[0] = 0
    net = SafeNetwork(size.dim, size.dim, FILTER_SIZES, size.num_filters, FEATURE_DIM).to(device, dtype)
    ported = PortedSafe(size.dim, FILTER_SIZES, size.num_filters, FEATURE_DIM).to(device, dtype)

    def look_up(batch: NewsBatch) -> dict[str, Tensor]:
        return {"text": F.embedding(batch.text_tokens, vectors), "visual": F.embedding(batch.visual_tokens, vectors)}

    def closed_form(model: nn.Module) -> Callable[[NewsBatch], None]:
        optimizer, parameters = torch.optim.SGD(model.parameters(), lr=1e-9, fused=True), dict(model.named_parameters())

        def run(batch: NewsBatch) -> None:
            _, _, gradients = closed_form_step(model, label=batch.label, **look_up(batch), **LOSS)
            for name, parameter in parameters.items():
                parameter.grad = gradients[name]
            optimizer.step()

        return run

    def autograd(model: nn.Module) -> Callable[[NewsBatch], None]:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-9, fused=True)

        def run(batch: NewsBatch) -> None:
            optimizer.zero_grad()
            safe_loss(model(**look_up(batch)), batch.label, **LOSS).total.backward()
            optimizer.step()

        return run

    return {"step": closed_form(net), "autograd": autograd(net), "ports": autograd(ported)}


def milliseconds(step: Callable[[NewsBatch], object], batches: Iterator[NewsBatch], count: int, cuda: bool) -> float:
    """Measure the milliseconds of one step, including the GPU's work."""
    wait = torch.cuda.synchronize if cuda else lambda: None
    wait()
    start = time.perf_counter()
    for _ in range(count):
        step(next(batches))
    wait()
    return (time.perf_counter() - start) / count * 1e3


def gpu_row(size: Size, precision: str, device: torch.device, rounds: int, count: int) -> list[str]:
    """Measure one row of the table: `count` steps in each round."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    loader, functions = draw_loader(size, device), ways(size, device, PRECISIONS[precision])
    batches = (batch for _ in cycle([None]) for batch in loader)
    times: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):  # the first round is not counted: it chooses kernels
        for name, function in functions.items():
            found = milliseconds(function, batches, count, device.type == "cuda")
            times[name] += [found] if number else []
    ms = statistics.median(times["step"])
    ratios = [ratio(times[name], times["step"]) for name in ("autograd", "ports")]
    return [f"{precision}, {size}", f"{ms:.2f}", f"{1e3 / ms:,.0f}", f"{size.batch * 1e3 / ms:,.0f}", *ratios]


HEADER = ["", "step, ms", "steps a second", "articles a second", "autograd / step", "ports / step"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each, interleaved (default 7)")
    parser.add_argument("--tiny", action="store_true", help="a trial of a second, on the processor if need be")
    chosen = parser.parse_args(arguments)
    cuda = torch.cuda.is_available()
    if not cuda and not chosen.tiny:
        print("No GPU here, so nothing was measured.")
        return
    sizes = (
        [Size(4, 3, 2, text=9, visual=6, vocabulary=20)] if chosen.tiny else [Size(64, 300, 128), Size(4096, 300, 128)]
    )
    device, count = torch.device("cuda" if cuda else "cpu"), 2 if chosen.tiny else 20
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        rows = [gpu_row(size, name, device, chosen.rounds, count) for size in sizes for name in PRECISIONS]
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
    name = torch.cuda.get_device_name() if cuda else "on the processor"
    print(f"{name}; {machine()}; {chosen.rounds} rounds\n\n{table(HEADER, rows)}")


if __name__ == "__main__":
    main()
