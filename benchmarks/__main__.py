"""python -m benchmarks: the ratios of one training step in docs/performance.md, as Markdown; --all: the others too."""

from __future__ import annotations

import argparse
import os

import torch

from benchmarks import collection, gpu, loop, report, stacked, start, vectors
from benchmarks.measure import machine
from benchmarks.parts import part_table
from benchmarks.step import Size, context_table, memory_table, released_functions, safe_functions, step_table

SIZES = [Size(64, 32, 128), Size(64, 300, 128), Size(64, 32, 1), Size(64, 300, 1), Size(16, 32, 32)]
RELEASED = Size(64, 300, 128)
LEGEND = """\
A step is forward pass, gradients and SGD, from word numbers that repeat as those of news do. step: the closed form;
forward: its forward pass alone; autograd: the same network with PyTorch's gradients; ports: conv2d, max-pool and
autograd, as other ports write it. vectors: the closed form from word vectors looked up before: none repeats."""
OTHERS = {  # benchmarks of --all by title: main, and its arguments under --tiny
    "The loop": (loop.main, ["--tiny", "--rounds", "1"]),
    "Word vectors of a file": (vectors.main, ["--tiny", "--rounds", "1"]),
    "Start": (start.main, ["--rounds", "1", "--articles", "60"]),
    "A large collection": (collection.main, ["--articles", "60", "--epochs", "2", "--dim", "5"]),
    "On a GPU": (gpu.main, ["--tiny"]),
    "Many small runs at once": (stacked.main, ["--tiny", "--rounds", "1", "--alone", "2", "--loggers", "csv"]),
    "The report on a large sweep": (report.main, ["--tiny"]),
}
CONTEXTS = [Size(batch, 384, k, text=256, visual=50) for batch in (16, 64) for k in (32, 128)]
TINY = [Size(4, 3, 2, text=9, visual=6, vocabulary=20)]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each function, interleaved (default 9)")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch (default 2)")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to check in a second that everything runs")
    parser.add_argument(
        "--all",
        action="store_true",
        help="also the loop, the start, 20,000 articles, a GPU, stacked sweeps and a report: half an hour",
    )
    chosen = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(min(chosen.threads, os.cpu_count() or 1))
    torch.manual_seed(0)
    sizes, contexts, released = (TINY, TINY, TINY[0]) if chosen.tiny else (SIZES, CONTEXTS, RELEASED)
    try:
        print(f"{machine()}; {chosen.rounds} rounds, median (middle half)\n", flush=True)
        cases = {f"SAFE, {size}": safe_functions(size) for size in sizes}
        cases[f"released, {released}"] = released_functions(released)
        print(f"### One training step\n\n{LEGEND}\n\n{step_table(cases, chosen.rounds)}\n", flush=True)
        print(f"### One step from vectors in context\n\n{context_table(contexts, chosen.rounds)}\n", flush=True)
        print(f"### Where its time goes\n\n{part_table(sizes[:2] + sizes[-1:], chosen.rounds)}\n", flush=True)
        print(f"### Peak memory of one step\n\n{memory_table(cases)}\n", flush=True)
        print(machine())
    finally:
        torch.set_num_threads(threads)
    for title, (run, tiny) in OTHERS.items() if chosen.all else ():
        print(f"\n### {title}\n", flush=True)
        run(tiny if chosen.tiny else [])


if __name__ == "__main__":
    main()
