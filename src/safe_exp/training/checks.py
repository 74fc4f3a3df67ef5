"""Checks of a training's config that need to know the variant of the model."""

from __future__ import annotations

from safe_exp.config import TrainConfig
from safe_exp.config.monitor import check_monitor
from safe_exp.network.variants import variants


def check_config(config: TrainConfig) -> None:
    """Refuse settings that contradict the variant, and a monitor that it does not log.

    Raises:
        UserError: the message names the key.
    """
    variant = variants[config.model.variant]
    variant.check(config.model)
    check_monitor(config.callbacks.monitor, config.callbacks.mode, variant.name, variant.compares)
