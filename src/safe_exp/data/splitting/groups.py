"""Groups of articles as one number for each article, and how groups become one."""

from collections.abc import Hashable, Iterable

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def numbered(keys: Iterable[Hashable]) -> np.ndarray:
    """0, 1, 2, … for the keys in the order in which they first appear; equal keys get equal numbers. (N,) int64."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def joined(groups: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`groups` after group left[k] and group right[k] have become one, for every k and over any number of steps.

    Args:
        groups: (N,) int64, numbers from 0.
        left, right: (K,) numbers of groups.
    Returns:
        (N,) int64, numbered by first appearance.
    """
    if not len(groups):
        return groups
    count = int(groups.max()) + 1
    links = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(count, count))
    _, component = connected_components(links, directed=False)
    _, first, inverse = np.unique(component[groups], return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[inverse]


def sizes(groups: np.ndarray) -> np.ndarray:
    """For each article how many articles its group has. (N,)."""
    return np.bincount(groups)[groups] if len(groups) else groups
