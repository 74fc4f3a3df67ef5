"""Composition of a command's config from overrides, in a program that may use Hydra itself."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from os import PathLike, fspath
from typing import Any

from hydra import compose, initialize_config_dir, version
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import CompactHydraException
from omegaconf import DictConfig

from safe_exp.cli.mistakes import explain_error, require_options
from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.runs.own_yaml import as_command_line, split_config_dir
from safe_exp.system.errors import UserError

GROUPS = [path.name for path in CONF.iterdir() if path.is_dir()]
_COMPOSING = threading.Lock()  # Hydra composes with one object for the whole process


def compose_command(command: str, arguments: Sequence[str], with_hydra: bool = False) -> DictConfig:
    """Compose the config that a command line with these arguments has.

    Hydra's global state is the same afterwards as before, also within an application of Hydra's.

    Args:
        command: its name, such as train.
        arguments: overrides, and --config-dir, as on the command line, without quotation marks for a shell.
        with_hydra: keep the section `hydra`.
    Raises:
        UserError: an override cannot be used; the message is that of the command line.
    """
    overrides = split_config_dir(arguments)[1]
    with _COMPOSING, _hydra_as_before(), as_command_line(arguments):
        register_schemas()
        register_resolvers()
        require_options(overrides, GROUPS)
        try:
            with initialize_config_dir(str(CONF), **VERSION_BASE):
                return compose(command, overrides=overrides, return_hydra_config=with_hydra)
        except CompactHydraException as error:
            raise UserError(explain_error(error, command, overrides)) from None


@contextmanager
def _hydra_as_before() -> Iterator[None]:
    """Take Hydra's global state away for the block, and put it back."""
    kept, base = GlobalHydra.instance().hydra, version.getbase()
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = kept
        version.VersionBase.instance().version_base = base


def write_override(key: str, value: Any) -> str:
    """Write a Python value as an override, such as `data.labels={fake: ['no', 'false']}`."""
    return f"{key}={_written(value)}"


def _written(value: Any) -> str:
    """Write a value in Hydra's grammar of overrides.

    Raises:
        TypeError: it is neither plain, nor a path, nor a list or dict of such values.
    """
    if isinstance(value, Enum):
        return _written(value.name)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return repr(value)
    if isinstance(value, str | PathLike):
        # Within quotation marks only these two have a meaning; ${…} stays an interpolation, as on the command line.
        text = fspath(value).replace("\\", "\\\\").replace("'", "\\'")
        return f"'{text}'"
    if isinstance(value, Mapping):
        if wrong := next((key for key in value if not re.fullmatch(r"\w+", str(key))), None):
            raise TypeError(f"expected names as the keys of a dict, found {wrong!r:.80}")
        return "{" + ", ".join(f"{key}: {_written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    raise TypeError(f"expected a plain value, found a {type(value).__name__}: {value!r:.80}")
