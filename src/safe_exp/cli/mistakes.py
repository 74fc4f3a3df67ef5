"""Messages about mistakes on a command line, for the user; Hydra's own are for the author of a program."""

from __future__ import annotations

import difflib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import CompactHydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from safe_exp.cli.compat import composition_errors_told
from safe_exp.config import CONF
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.runs.processes import in_multirun
from safe_exp.system.errors import UserError
from safe_exp.system.nested import walk

EXPECTED_TYPES = {"Float": "a number", "Integer": "a whole number"}  # by OmegaConf's names


def user_errors_as_messages(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Decorate a command's main function: a UserError ends a single run with its message alone and exit code 1.

    Hydra would add three lines of its own. The jobs of a sweep raise their errors: the sweep goes on, and its table
    shows them.

    Raises:
        SystemExit: from the decorated function, once the message is printed.
    """

    @functools.wraps(task)
    def main(composed: DictConfig) -> Any:
        try:
            return task(composed)
        except UserError as error:
            if in_multirun() or _wants_traceback():
                raise
            print(error, file=sys.stderr)
            raise SystemExit(1) from None

    return main


@contextmanager
def mistakes_explained(command: str) -> Iterator[None]:
    """Print our message, within the block, where Hydra cannot compose the config of `command`."""
    if _wants_traceback():
        yield
        return
    with composition_errors_told(lambda error: explain_error(error, command)):
        yield


def explain_error(error: CompactHydraException, command: str) -> str:
    """Turn an error of Hydra's into one message: where, what was expected, what to do."""
    cause, said = error.__cause__, str(error).strip()
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = error.missing_cfg_file.rpartition("/")
        close = _did_you_mean(f"{group}={o}" for o in difflib.get_close_matches(option, error.options, 1))
        return f"{group}={option}: there is no such option.{close} Options: {', '.join(error.options)}."
    if isinstance(error, OverrideParseException) and "missing EQUAL" in said:
        return (
            f"{error.override}: expected key=value. A value with blanks, commas or brackets needs quotes of its own, "
            "as in 'data.root=\"my articles\"'."
        )
    if isinstance(error, OverrideParseException):
        key, _, value = str(error.override).partition("=")
        quoted = value.strip("'\"").replace("\\", "\\\\").replace('"', '\\"')
        return (
            f"{error.override}: this value cannot be read. One with blanks, commas, brackets, signs or letters beyond "
            f"a to z needs quotes of its own: '{key}=\"{quoted}\"'"
        )
    ambiguous = re.match(r"Ambiguous value for argument '(.*)'", said)
    if ambiguous:
        key, _, values = ambiguous[1].partition("=")
        return f"{ambiguous[1]}: several values. Add -m to run each of them; a list is written '{key}=[{values}]'."
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        return explain_unknown_key(cause.full_key, list_keys(command))
    if isinstance(cause, OmegaConfBaseException):
        override = said.partition("\n")[0].removeprefix("Error merging override ")
        return f"{override}: {_explain_value(str(cause).partition(chr(10))[0], override)}"
    return said


def explain_unknown_key(key: str, known: Iterable[str]) -> str:
    """Say that there is no such key, and name the known ones that may be meant."""
    known = list(known)
    last = key.rpartition(".")[2]
    found = [name for name in known if name.rpartition(".")[2] == last][:3] or difflib.get_close_matches(key, known, 1)
    return f"{key}: there is no such key.{_did_you_mean(found)} --help lists them all."


def list_keys(command: str) -> list[str]:
    """List the keys and groups of a command's config, with the options that the command line chooses."""
    chosen = [a for a in sys.argv[1:] if re.fullmatch(r"[a-z_/]+=[\w/]+", a)]
    for overrides in (chosen, []):
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(CONF), **VERSION_BASE):
                config = OmegaConf.to_container(compose(command, overrides=overrides), resolve=False)
            break
        except (CompactHydraException, OmegaConfBaseException):
            continue
    return [key for key, _ in walk(cast("dict[str, Any]", config))]


def _did_you_mean(found: Iterable[str]) -> str:
    names = " or ".join(found)
    return f" Did you mean {names}?" if names else ""


def _explain_value(said: str, override: str) -> str:
    """Turn OmegaConf's reason to refuse a value into the value that was expected."""
    converted = re.search(r"could not be converted to (\w+)", said)
    if converted and converted[1] in EXPECTED_TYPES:
        return f"expected {EXPECTED_TYPES[converted[1]]}."
    if "is not a valid bool" in said:
        return "expected true or false."
    one_of = re.search(r"expected one of \[(.*)\]", said)
    if one_of:
        return f"expected one of {one_of[1]}."
    if "is not a ListConfig" in said:
        key, _, value = override.partition("=")
        return f"expected a list, as in '{key}=[{value}]'."
    return said


def _wants_traceback() -> bool:
    return os.environ.get("HYDRA_FULL_ERROR") == "1"
