"""The config that a stored run was started with, read from its folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from safe_exp.config.hydra_versions import register_resolver
from safe_exp.system.errors import UserError, first_line

CONFIG_FILE = Path(".hydra", "config.yaml")
ONE_MINUS = "${one_minus:"  # begins the one function of ours that a stored config may call: conf/sweep/alpha.yaml does


def register_one_minus() -> None:
    """Register 1 - x, as ${one_minus:x}."""
    register_resolver("one_minus", lambda value: round(1 - float(value), 12), replace=True)


def read_stored_config(run: Path, section: str | None = None) -> dict[str, Any]:
    """Read the config of a run, or one section of it, as plain values.

    A reference to another key is followed. No function is called but one_minus, since the folder may come from a
    stranger: a value such as ${oc.env:HOME} stays as it is written.

    Raises:
        UserError: it cannot be read.
    """
    calls: dict[str, str] = {}

    def mask(text: str) -> str:
        if not _calls_a_function(text):
            return text
        name = f"\0{len(calls)}\0"
        calls[name] = text
        return name

    def unmask(text: str) -> str:
        for name, call in calls.items() if "\0" in text else ():
            text = text.replace(name, call)
        return text

    register_one_minus()
    try:
        config = OmegaConf.create(_map_text(OmegaConf.to_container(OmegaConf.load(run / CONFIG_FILE)), mask))
        node = config if section is None else config.get(section)
        if not isinstance(node, DictConfig):
            raise ValueError(f"it holds no {section or 'keys'}")
        resolved = OmegaConf.to_container(node, resolve=True)
    except (OSError, ValueError, AttributeError, RecursionError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(
            f"run={run}: {CONFIG_FILE} cannot be read ({first_line(error)}). Was the copy complete?"
        ) from error
    return cast("dict[str, Any]", _map_text(resolved, unmask))


def _calls_a_function(text: str) -> bool:
    """Tell whether a value calls a function other than one_minus: whether there is a colon between ${ and }."""
    depth = 0
    for mark in re.findall(r"\$\{|\}|:", text.replace(ONE_MINUS, "${")):
        depth = max(depth + {"${": 1, "}": -1}.get(mark, 0), 0)
        if mark == ":" and depth:
            return True
    return False


def _map_text(value: Any, change: Callable[[str], str]) -> Any:
    """Change all texts among the values of nested dicts and lists."""
    if isinstance(value, dict):
        return {key: _map_text(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [_map_text(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value
