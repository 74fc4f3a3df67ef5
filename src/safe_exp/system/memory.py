"""Memory that a process has freed: kept for its next use, or given back to the system."""

from __future__ import annotations

import ctypes
import sys

# Parameters of glibc's mallopt, from <malloc.h>.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
LARGEST_KEPT = 1 << 30  # bytes; a larger block is given back to the system when it is freed
GROWTH = 64 << 20  # bytes by which the heap grows at least


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for its next use.

    glibc gives a freed block of some megabytes back to the system, which clears each of its pages again when the next
    step of a training asks for as much. With 35 runs of K = 32 that took more than half of a step. The process then
    holds its peak until it ends.

    Returns:
        False where the C library is another one, which stays as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    for parameter, value in ((M_MMAP_THRESHOLD, LARGEST_KEPT), (M_TRIM_THRESHOLD, LARGEST_KEPT), (M_TOP_PAD, GROWTH)):
        mallopt(parameter, value)  # a value that it refuses changes nothing
    return True
