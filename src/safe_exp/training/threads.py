"""How many threads of a processor a training step is worth."""

from __future__ import annotations

import logging
import os

import torch

from safe_exp.config import TrainConfig

log = logging.getLogger(__name__)

# Multiply-adds of a forward pass on word vectors, below which one thread does a step as fast as several. Measured on
# two cores: at 2e7 (B = 16, E = 32, K = 32) two threads gain nothing, and take twice as long as one, or many times,
# when something else runs on one of the cores; at 3e8 (B = 64, E = 32, K = 128) they gain a fifth, at 3e9 (E = 300)
# two fifths.
WORTH_THREADS = 1e8

_at_start: int | None = None  # what PyTorch chose, before any job of this process changed it


def step_multiply_adds(config: TrainConfig, vector_dim: int) -> int:
    """Of the convolutions of one mini-batch of full articles, with word vectors of `vector_dim` numbers."""
    words = config.data.batch_size * (config.data.max_text_tokens + config.data.max_visual_tokens)
    return words * sum(config.model.filter_sizes) * config.model.num_filters * vector_dim


def set_threads(config: TrainConfig, vector_dim: int) -> int:
    """Give PyTorch the threads that this job's steps are worth, for the jobs after it as well until they say otherwise.

    `threads` in the config decides, then the environment's OMP_NUM_THREADS; else one for small steps, and for others
    what PyTorch would take. The number is the same each time the same job starts, since sums depend on it in their last
    bits.
    """
    global _at_start
    _at_start = _at_start or torch.get_num_threads()
    if config.threads is not None:
        threads = config.threads
    elif "OMP_NUM_THREADS" in os.environ or step_multiply_adds(config, vector_dim) >= WORTH_THREADS:
        threads = _at_start
    else:
        threads = 1
    torch.set_num_threads(threads)
    log.debug("%d of at most %d threads.", threads, _at_start)
    return threads
