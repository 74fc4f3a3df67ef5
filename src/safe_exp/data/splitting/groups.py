"""Groups of articles: one number for each article, equal within a group."""

from collections.abc import Hashable, Iterable

import numpy as np


def number_keys(keys: Iterable[Hashable]) -> np.ndarray:
    """Number N keys 0, 1, 2, … in the order in which they first appear; equal keys get equal numbers. (N,) int64."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def join_groups(groups: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Join group left[k] with group right[k] for every k; chains of links become one group.

    Args:
        groups: (N,) int64, numbers from 0.
        left, right: (K,) int64, numbers of groups.
    Returns:
        (N,) int64, numbered by first appearance.
    """
    if not len(groups):
        return groups
    from scipy.sparse import coo_array  # a tenth of a second to import
    from scipy.sparse.csgraph import connected_components

    count = int(groups.max()) + 1
    links = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(count, count))
    _, component = connected_components(links, directed=False)
    _, first, inverse = np.unique(component[groups], return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[inverse]


def count_members(groups: np.ndarray) -> np.ndarray:
    """Count the articles in each article's group: (N,) int64 from `groups` (N,) int64."""
    return np.bincount(groups)[groups] if len(groups) else groups
