"""The number of processor threads that PyTorch uses for a job's training steps."""

from __future__ import annotations

import logging

import torch

from safe_exp.config import TrainConfig

log = logging.getLogger(__name__)

# Below this many multiply-adds in a forward pass on word vectors, one thread is as fast as several. Measured on two
# cores: at 2e7 (B = 16, E = 32, K = 32) two threads gain nothing, and take at least twice as long as one while another
# program runs on one of the cores; at 3e8 (B = 64, E = 32, K = 128) they gain a fifth, at 3e9 (E = 300) two fifths.
MIN_MULTIPLY_ADDS = 1e8

_at_start: int | None = None  # what PyTorch chose, before any job of this process changed it


def step_multiply_adds(config: TrainConfig, vector_dim: int) -> int:
    """Count the multiply-adds of the convolutions over one mini-batch of full articles.

    Args:
        vector_dim: length E of a word vector.
    """
    words = config.data.batch_size * (config.data.max_text_tokens + config.data.max_visual_tokens)
    return words * sum(config.model.filter_sizes) * config.model.num_filters * vector_dim


def set_threads(config: TrainConfig, vector_dim: int) -> int:
    """Set the number of PyTorch's threads for this job, and return it.

    `threads` in the config decides. Without it small steps get one thread, and larger steps as many as PyTorch chose at
    its start: those of OMP_NUM_THREADS, where it is set. A job gets the same number whenever it starts, because the
    last bits of its sums depend on it. The setting holds for the whole process.

    Args:
        vector_dim: length E of a word vector.
    """
    global _at_start
    _at_start = _at_start or torch.get_num_threads()
    # The profile of a cluster sets OMP_NUM_THREADS for every program, so it is no choice for small steps.
    threads = config.threads or (_at_start if step_multiply_adds(config, vector_dim) >= MIN_MULTIPLY_ADDS else 1)
    torch.set_num_threads(threads)
    log.debug("%d of at most %d threads.", threads, _at_start)
    return threads
