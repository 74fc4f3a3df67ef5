"""Checks of a training config that need the model variant or PyTorch."""

from __future__ import annotations

from safe_exp.config import TrainConfig
from safe_exp.config.monitor import check_monitor
from safe_exp.data.word_cutters import word_cutters
from safe_exp.network.variants import variants
from safe_exp.training.optimizers import check_optimizer


def check_config(config: TrainConfig) -> None:
    """Refuse settings that contradict the variant, a monitor that it does not log, an unknown word cutter, and an
    optimizer or scheduler that cannot train.

    Raises:
        UserError: for the first such setting; the message names its key.
    """
    variant = variants[config.model.variant]
    variant.check(config.model)
    word_cutters.require(config.data.words)
    check_monitor(config.callbacks.monitor, config.callbacks.mode, variant.name, variant.compares)
    check_optimizer(config)
