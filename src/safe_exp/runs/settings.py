"""The settings that a run or a sweep was started with, compared with those that conf/ gives now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from omegaconf import DictConfig

from safe_exp.config import Select, TrainConfig
from safe_exp.system.errors import UserError
from safe_exp.system.nested import flat

MISSING = object()  # equal to no value


def require_same_settings(
    where: str, what: str, then: Mapping[str, Any], now: Mapping[str, Any], given: Collection[str] = ()
) -> None:
    """Refuse to resume where conf/ has changed a value since the start.

    A key that is missing in the stored settings came with a later version of the program. It is no difference: its
    default keeps the earlier behaviour.

    Args:
        where: begins the message, such as resume=DIR.
        what: run or sweep.
        then, now: nested settings, unresolved, as they were stored and as conf/ gives them.
        given: dotted keys that the command line has changed on purpose.
    Raises:
        UserError: a value differs; the message names the first one and the number of them.
    """
    # Hydra's own settings differ between two commands that train the same.
    old, new = (flat({key: value for key, value in each.items() if key != "hydra"}) for each in (then, now))
    changed = sorted(key for key in old if key not in given and new.get(key, MISSING) != old[key])
    if changed:
        key = changed[0]
        raise UserError(
            f"{where}: the {what} started with {key}={old[key]}, and conf/ now gives {new.get(key)} "
            f"({len(changed)} such difference{'s' * (len(changed) > 1)}). Bring conf/ back, or start another {what}."
        )


def restore_earlier_defaults(config: DictConfig | TrainConfig, then: Mapping[str, Any]) -> None:
    """Give a run or sweep that was started before a key existed the behaviour of that time.

    Without `callbacks.select` it keeps the weights of the best epoch; without `figures` its jobs are drawn.

    Args:
        config: of the run, or of a job of the sweep, composed or typed; is changed.
        then: the settings that it was started with; empty where there are none.
    """
    callbacks = then.get("callbacks")
    if isinstance(callbacks, Mapping):
        if "select" not in callbacks:
            config.callbacks.select = Select.best
        if "figures" not in then:
            config.figures = True
