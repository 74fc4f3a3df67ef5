"""The time that each part of a closed-form step takes."""

from __future__ import annotations

import statistics

import torch

from benchmarks.measure import interleaved, table
from benchmarks.step import FEATURE_DIM, FILTER_SIZES, LOSS, Functions, Size, closed_form, draw_words
from safe_exp.equations import closed_form_step, safe_loss
from safe_exp.equations.safe import safe_backward, safe_forward
from safe_exp.equations.text_cnn import filters_backward
from safe_exp.equations.windows import best_windows, convolve_words, distinct_words, multiply_rows
from safe_exp.network import SafeNetwork


def part_functions(size: Size) -> Functions:
    """Build functions of the parts of a step, of its forward pass, losses and backward pass, and of the whole step."""
    vectors = torch.randn(size.vocabulary, size.dim)
    vectors[0] = 0
    words = {"text": draw_words(size, size.text, vectors), "visual": draw_words(size, size.visual, vectors)}
    label = torch.arange(size.batch) % 2
    net = SafeNetwork(size.dim, size.dim, FILTER_SIZES, size.num_filters, FEATURE_DIM)
    with torch.no_grad():
        output, cache = safe_forward(net.weights(), **words)
        encoders = [
            (distinct_words(words["text"]), cache.text),
            (distinct_words(words["visual"]), cache.visual),
        ]
        rows = [torch.cat([b.weight.transpose(0, 1) for b in e.weights.filters]).flatten(0, 1) for _, e in encoders]
        scores = [list(convolve_words(found, e.weights.filters)) for found, e in encoders]
        d_scores = torch.randn_like(cache.text.pooled)
    step = closed_form(net, closed_form_step, label, words)
    step()  # sets gradients for the optimiser
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-9, fused=True)
    loss = {**LOSS, "similarity_loss": "real_only"}
    inside = {
        "find the distinct words": lambda: [distinct_words(sentences) for sentences in words.values()],
        "words × filters": lambda: [multiply_rows(e[0].vectors, row) for e, row in zip(encoders, rows, strict=True)],
        "all scores": lambda: [list(convolve_words(found, e.weights.filters)) for found, e in encoders],
        "maximum over time": lambda: [
            best_windows(score, None, width)
            for encoder_scores in scores
            for score, width in zip(encoder_scores, FILTER_SIZES, strict=True)
        ],
        "forward": lambda: safe_forward(net.weights(), **words),
        "losses": lambda: safe_loss(output, label, **loss),
        "bags": lambda: [filters_backward(d_scores, e.positions, e.words, FILTER_SIZES) for _, e in encoders],
        "backward": lambda: safe_backward(output, cache, label, **loss),
        "optimiser": optimizer.step,
    }
    functions: Functions = {name: torch.no_grad()(function) for name, function in inside.items()}
    return functions | {"step": step}


def part_table(sizes: list[Size], rounds: int) -> str:
    """Format milliseconds and share of each part of a step, at each size."""
    columns = []
    for size in sizes:
        ms = {name: statistics.median(times) for name, times in interleaved(part_functions(size), rounds).items()}
        found = ("find the distinct words", "all scores", "maximum over time")
        ms["sum of h products for each window"] = ms["all scores"] - ms["words × filters"]
        ms["projection, similarity, prediction"] = ms["forward"] - sum(ms[name] for name in found)
        ms["weighted sums of word vectors, Eq. (17)"] = ms["bags"]
        ms["Eqs. (12), (14)-(16), (18)"] = ms["backward"] - ms["bags"]
        columns.append(ms)
    names = [
        "find the distinct words", "words × filters", "sum of h products for each window", "maximum over time",
        "projection, similarity, prediction", "losses", "weighted sums of word vectors, Eq. (17)",
        "Eqs. (12), (14)-(16), (18)", "optimiser",
    ]  # fmt: skip
    rows = [
        [name, *(f"{max(ms[name], 0):.2f} ({max(ms[name], 0) / ms['step']:.0%})" for ms in columns)] for name in names
    ]
    rows.append(["the whole step", *(f"{ms['step']:.2f}" for ms in columns)])
    return table(["ms (share)", *map(str, sizes)], rows)
