"""One training step: the closed form compared with its own forward pass, with autograd, and with other ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measure import interleaved, median, peak_megabytes, ratio, table
from benchmarks.ports import PortedReleased, PortedSafe
from safe_exp.equations import Words, closed_form_step, released_step, safe_loss
from safe_exp.network import SafeNetwork
from safe_exp.network.released_network import ReleasedNetwork

LOSS = {"alpha": 0.6, "beta": 0.4}
FILTER_SIZES, FEATURE_DIM, WORD_DIM = [3, 4], 32, 32
Functions = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Size:
    """The sizes that determine the work of a step."""

    batch: int  # B
    dim: int  # E
    num_filters: int  # K
    text: int = 130  # words of a text
    visual: int = 20  # words of an image's sentence
    vocabulary: int = 6000  # rows of the table of word vectors

    def __str__(self) -> str:
        return f"B={self.batch}, E={self.dim}, K={self.num_filters}"


def draw_words(size: Size, length: int, vectors: Tensor) -> Words:
    """Draw word numbers (B, length) that repeat as those of news do: 64 articles of 130 words have about 2,000 words.

    Args:
        vectors: table of word vectors (V, E), row 0 = padding, which is not drawn.
    """
    rank = torch.arange(1, len(vectors))
    # Zipf's law as Mandelbrot extended it; measured on 874 news articles: 1,950 of 8,300 words, and 740 of 2,070.
    frequency = (rank + 2.7) ** -1.12
    drawn = 1 + torch.multinomial(frequency, size.batch * length, replacement=True)
    return Words(vectors, drawn.view(size.batch, length))


def closed_form(net: nn.Module, step: Callable, label: Tensor, arguments: Mapping[str, Any]) -> Callable[[], None]:
    """Build a function that takes one closed-form step, with label (B,), from the arguments of `net`."""
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-9, fused=True)  # so small that the weights stay as they are
    parameters = dict(net.named_parameters())

    def run() -> None:
        _, _, gradients = step(net, label=label, **arguments, **LOSS)
        for name, parameter in parameters.items():
            parameter.grad = gradients[name]
        optimizer.step()

    return run


def forward(net: nn.Module, label: Tensor, arguments: Mapping[str, Any]) -> Callable[[], None]:
    """Build a function that computes output and losses, with label (B,), from the arguments of `net`."""

    @torch.no_grad()
    def run() -> None:
        safe_loss(net(**arguments), label, **LOSS)

    return run


def autograd(net: nn.Module, label: Tensor, words: Mapping[str, Words]) -> Callable[[], None]:
    """Build a function that looks up the words and takes one step by autograd, with label (B,)."""
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-9, fused=True)

    def run() -> None:
        optimizer.zero_grad()
        embedded = {name: F.embedding(tokens, vectors) for name, (vectors, tokens) in words.items()}
        safe_loss(net(**embedded), label, **LOSS).total.backward()
        optimizer.step()

    return run


def safe_functions(size: Size) -> Functions:
    """Build each way of taking a step of SAFE at one size."""
    vectors = torch.randn(size.vocabulary, size.dim)
    vectors[0] = 0
    words = {"text": draw_words(size, size.text, vectors), "visual": draw_words(size, size.visual, vectors)}
    embedded = {name: F.embedding(tokens, vectors) for name, (_, tokens) in words.items()}
    label = torch.arange(size.batch) % 2
    net = SafeNetwork(size.dim, size.dim, FILTER_SIZES, size.num_filters, FEATURE_DIM)
    ported = PortedSafe(size.dim, FILTER_SIZES, size.num_filters, FEATURE_DIM)
    return {
        "forward": forward(net, label, words),
        "step": closed_form(net, closed_form_step, label, words),
        "forward, vectors": forward(net, label, embedded),
        "step, vectors": closed_form(net, closed_form_step, label, embedded),
        "autograd": autograd(net, label, words),
        "ports": autograd(ported, label, words),
    }


def context_functions(size: Size) -> Functions:
    """Build each way of taking a step from vectors in context, as a language model gives them: none repeats."""
    label = torch.arange(size.batch) % 2
    arguments: dict[str, Tensor] = {}
    for name, length in {"text": size.text, "visual": size.visual}.items():
        arguments[name] = torch.randn(size.batch, length, size.dim)
        arguments[f"{name}_lengths"] = torch.randint(length // 2, length + 1, (size.batch,))
    net = SafeNetwork(size.dim, size.dim, FILTER_SIZES, size.num_filters, FEATURE_DIM)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-9, fused=True)

    def by_autograd() -> None:
        optimizer.zero_grad()
        safe_loss(net(**arguments), label, **LOSS).total.backward()
        optimizer.step()

    return {
        "forward": forward(net, label, arguments),
        "step": closed_form(net, closed_form_step, label, arguments),
        "autograd": by_autograd,
    }


def released_functions(size: Size, headline: int = 30, body: int = 100) -> Functions:
    """Build each way of taking a step of the released architecture."""
    vectors = torch.randn(size.vocabulary, size.dim)
    vectors[0] = 0
    lengths = {"headline": headline, "body": body, "visual": size.visual}
    words = {name: draw_words(size, length, vectors) for name, length in lengths.items()}
    embedded = {name: F.embedding(tokens, vectors) for name, (_, tokens) in words.items()}
    label = torch.arange(size.batch) % 2
    shape = FILTER_SIZES, size.num_filters, FEATURE_DIM
    net, ported = ReleasedNetwork(size.dim, WORD_DIM, *shape), PortedReleased(size.dim, WORD_DIM, *shape)
    return {
        "forward": forward(net, label, words),
        "step": closed_form(net, released_step, label, words),
        "forward, vectors": forward(net, label, embedded),
        "step, vectors": closed_form(net, released_step, label, embedded),
        "autograd": autograd(net, label, words),
        "ports": autograd(ported, label, words),
    }


RATIOS = [  # title of the column, numerator, denominator
    ("step / forward", "step", "forward"),
    ("autograd / step", "autograd", "step"),
    ("ports / step", "ports", "step"),
    ("vectors: step / forward", "step, vectors", "forward, vectors"),
    ("vectors: autograd / step", "autograd", "step, vectors"),
    ("vectors: ports / step", "ports", "step, vectors"),
]
HEADER = ["", "forward, ms", "step, ms", *(name for name, _, _ in RATIOS)]


def step_table(cases: Mapping[str, Functions], rounds: int) -> str:
    """Measure each case, and format its times and RATIOS."""
    rows = []
    for name, functions in cases.items():
        times = interleaved(functions, rounds)
        figures = [median(times["forward"]), median(times["step"])]
        rows.append([name, *figures, *(ratio(times[slow], times[fast]) for _, slow, fast in RATIOS)])
    return table(HEADER, rows)


def context_table(sizes: Sequence[Size], rounds: int) -> str:
    """Measure steps from vectors in context, and format their times and ratios."""
    rows = []
    for size in sizes:
        times = interleaved(context_functions(size), rounds)
        found = [median(times["forward"]), median(times["step"])]
        rows.append(
            [str(size), *found, ratio(times["step"], times["forward"]), ratio(times["autograd"], times["step"])]
        )
    return table(["", "forward, ms", "step, ms", "step / forward", "autograd / step"], rows)


def memory_table(cases: Mapping[str, Functions]) -> str:
    """Measure and format the peak memory of one step, in each case."""
    ways = ["forward", "step", "step, vectors", "autograd", "ports"]
    rows = [[name, *(f"{peak_megabytes(functions[way]):.1f}" for way in ways)] for name, functions in cases.items()]
    return table(["MB", *ways], rows)
