"""Measures time and memory of functions that do the same work, so that they can be compared."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch.profiler import ProfilerActivity, profile

MIN_SECONDS = 0.02  # of one measurement; a faster function is repeated


def interleaved(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Measure the milliseconds of each function in each round.

    A round calls all functions in turn, so that other work of the machine affects them alike.
    """
    repeats = {}
    for name, function in functions.items():
        function()  # allocates memory and chooses kernels
        start = time.perf_counter()
        function()
        repeats[name] = max(1, round(MIN_SECONDS / max(time.perf_counter() - start, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                function()
            times[name].append((time.perf_counter() - start) / repeats[name] * 1e3)
    return times


def median(times: Sequence[float]) -> str:
    """Format the median."""
    return f"{statistics.median(times):.2f}"


def ratio(slow: Sequence[float], fast: Sequence[float]) -> str:
    """Format slow / fast: the median over the rounds, and the quartiles."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return f"{statistics.median(ratios):.2f} ({low:.2f}-{high:.2f})"


def peak_megabytes(function: Callable[[], object]) -> float:
    """Measure the peak of PyTorch's memory during one call, in MB above its start."""
    function()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        function()
    changes = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        held += change.nbytes()
        peak = max(peak, held)
    return peak / 1e6


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """Describe processor, cores, threads, versions and load in one line."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}; load {load}"
    )
