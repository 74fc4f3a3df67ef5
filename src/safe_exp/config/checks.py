"""Checks of values that several sections share. Each message names the key."""

import math
import re
from typing import Any

from safe_exp.system.errors import UserError

MAX_SEED = 2**32 - 1
DEVICE_PATTERN = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
COMMIT_PATTERN = re.compile(r"[0-9a-f]{40}")


def require_at_least(key: str, value: float, least: float) -> None:
    """Refuse a number below `least`, an infinity or NaN.

    Raises:
        UserError: it is one of these.
    """
    if not value >= least or math.isinf(value):  # `not >=` refuses NaN as well
        raise UserError(f"{key}={value}: expected a number >= {least}.")


def require_count(key: str, value: Any) -> None:
    """Refuse what is no whole number of at least 1, such as a launcher's value, which no dataclass checks.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{key}={value}: expected a whole number >= 1.")


def require_seed(key: str, value: int) -> None:
    """Refuse a seed that NumPy's generators do not take.

    Raises:
        UserError: it is below 0 or above 2³² - 1.
    """
    if not 0 <= value <= MAX_SEED:
        raise UserError(f"{key}={value}: expected a whole number from 0 to {MAX_SEED}.")


def require_share(key: str, value: float) -> None:
    """Refuse a number outside [0, 1), and NaN.

    Raises:
        UserError: it is one of these.
    """
    if not 0 <= value < 1:
        raise UserError(f"{key}={value}: expected a number >= 0 and < 1.")


def require_positive(key: str, value: float) -> None:
    """Refuse a number that is not above 0, an infinity or NaN.

    Raises:
        UserError: it is one of these.
    """
    if not value > 0 or math.isinf(value):
        raise UserError(f"{key}={value}: expected a number > 0.")


def require_type(group: str, config: Any, expected: type) -> None:
    """Refuse settings that were read without the type of what they name, as from a YAML file without its schema.

    Args:
        group: the config group, such as captioner.
        config: its settings, with their `name`.
        expected: the type of settings of that name.
    Raises:
        UserError: `config` is of another type.
    """
    if not isinstance(config, expected):
        raise UserError(
            f"{group}.name={config.name}: the keys of {group}={config.name} are missing. In a YAML file of your own "
            f"begin the defaults with an option that has them, as in '- {config.name}', or with "
            f"'- /schema/{group}/{config.name}_schema@_here_'."
        )


def check_pretrained_keys(group: str, model: str, revision: str | None, device: str) -> None:
    """Refuse values of the keys model, revision and device that cannot be right.

    Raises:
        UserError: the message names the key.
    """
    if not model.strip():
        raise UserError(f"{group}.model is empty: expected an id on the Hugging Face hub, or a folder.")
    if revision is not None and not COMMIT_PATTERN.fullmatch(revision):
        # A branch moves, and with it every result that rests on it.
        raise UserError(
            f"{group}.revision={revision}: expected the 40 hexadecimal digits of a commit, not a branch, "
            "or null with a folder."
        )
    if not DEVICE_PATTERN.fullmatch(device):
        raise UserError(f"{group}.device={device}: expected auto, cpu, cuda, cuda:N or mps.")
