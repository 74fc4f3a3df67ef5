"""Memory that a process has freed: kept for its next use, or given back to the system."""

from __future__ import annotations

import ctypes
import sys

# Parameters of glibc's mallopt, from <malloc.h>.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
KEPT_BY_A_RUN = 128 << 20  # bytes: several times what a step asks for
KEPT_BY_A_STACK = 1 << 30  # bytes
LARGEST_BLOCK_BEFORE = 32 << 20  # bytes: the most that glibc before 2.35 takes for M_MMAP_THRESHOLD
GROWTH = 64 << 20  # bytes by which the heap grows at least


def keep_freed_memory(most: int) -> bool:
    """Let this process keep what it frees, for its next use.

    glibc gives a freed block of some megabytes back to the system, which clears each of its pages again when the next
    step of a training asks for as much. In a run of its own that took a tenth to a fifth of the processor time, with 35
    runs of K = 32 in one stack more than half of a step. The setting holds for the whole process.

    Args:
        most: bytes that are kept; also the largest block of which any are.
    Returns:
        False where the C library is another one, which stays as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    if not (mallopt(M_MMAP_THRESHOLD, most) or mallopt(M_MMAP_THRESHOLD, min(most, LARGEST_BLOCK_BEFORE))):
        return False  # with the other settings alone glibc would keep less than before
    mallopt(M_TRIM_THRESHOLD, most)
    mallopt(M_TOP_PAD, GROWTH)
    return True
