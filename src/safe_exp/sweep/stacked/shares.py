"""The runs of a stack whose seeds share the work of a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

MOST_FILTERS = 1024  # of the runs of a share with several seeds


class SharedSeeds(NamedTuple):
    """The runs of a share of every step, and their seeds, which have equally many runs each."""

    runs: slice
    seeds: tuple[int, ...]


def form_shares(seeds: Sequence[int], num_filters: int) -> list[SharedSeeds]:
    """Divide the runs into shares of adjacent seeds with equally many runs.

    A share of several seeds has no more than MOST_FILTERS filters: beyond that the numbers of one seed fill the
    processor's cache.

    Args:
        seeds: of the runs, sorted.
        num_filters: K.
    Example:
        >>> [share.seeds for share in form_shares([0, 0, 1, 1, 2], num_filters=1)]
        [(0, 1), (2,)]
    """
    counts = Counter(seeds)  # in the order of the seeds
    shares, start = [], 0
    for count, alike in groupby(counts, key=lambda seed: counts[seed]):
        group, at_once = tuple(alike), max(1, MOST_FILTERS // (count * num_filters))
        for i in range(0, len(group), at_once):
            part = group[i : i + at_once]
            shares.append(SharedSeeds(slice(start, start + count * len(part)), part))
            start += count * len(part)
    return shares


def rows_to_keep(seeds: Sequence[int], running: Sequence[bool]) -> list[int]:
    """List the rows that a stack trains on with: those that run, and of each of their seeds equally many.

    Ended runs fill up a seed, because only seeds with equally many runs share the work of a step.

    Args:
        seeds: of each row, sorted.
        running: False for the row of an ended run.
    Example:
        >>> rows_to_keep(seeds=[0, 0, 0, 1, 1, 1, 2], running=[True, False, True, False, True, False, False])
        [0, 2, 3, 4]
    """
    counts = Counter(seed for seed, runs in zip(seeds, running, strict=True) if runs)
    most = max(counts.values(), default=0)
    spare = {seed: most - count for seed, count in counts.items()}  # ended runs that are kept
    kept = []
    for row, (seed, runs) in enumerate(zip(seeds, running, strict=True)):
        if runs or spare.get(seed, 0) > 0:
            kept.append(row)
            spare[seed] -= not runs
    return kept
