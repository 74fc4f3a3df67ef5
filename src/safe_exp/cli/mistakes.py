"""Messages about mistakes on a command line, for the user; Hydra's own are for the author of a program."""

from __future__ import annotations

import difflib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import CompactHydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import MarkedYAMLError

from safe_exp.cli.compat import composition_errors_told
from safe_exp.config import CONF
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.runs.own_yaml import command_line, own_folders
from safe_exp.runs.processes import in_multirun
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path
from safe_exp.system.nested import walk

GLOBAL_GROUPS = ("experiment/", "sweep/", "debug/")  # their files set keys of other groups
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


def explain_error(
    error: CompactHydraException | MarkedYAMLError, command: str, overrides: Sequence[str] | None = None
) -> str:
    """Turn an error of Hydra's, or of a YAML file, into one message: where, what was expected, what to do.

    Args:
        overrides: what the user gave; None: the arguments of this process.
    """
    cause, said = error.__cause__, str(error).strip()
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = "a config file" if mark is None else f"{short_path(Path(mark.name))}, line {mark.line + 1}"
        return f"{where}: this is not valid YAML ({error.problem})."
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
    in_file = re.match(r"In '([^']+)': (.*)", said)
    if in_file:
        return f"{find_config(in_file[1])}: {_explain_in_file(error, in_file[1], in_file[2], command)}"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        return explain_unknown_key(cause.full_key, list_keys(command, overrides))
    if isinstance(cause, OmegaConfBaseException):
        override = said.partition("\n")[0].removeprefix("Error merging override ")
        return f"{override}: {_explain_value(str(cause).partition(chr(10))[0], override)}"
    return said


def _explain_in_file(error: CompactHydraException, name: str, said: str, command: str) -> str:
    """Explain an error in a config file, most often of the user's own YAML.

    Args:
        name: of the file, such as experiment/mine.
        said: Hydra's first line.
    """
    cause = error.__cause__ or error.__context__  # Hydra raises within its handler of OmegaConf's error
    if name.startswith(GLOBAL_GROUPS) and "@package _global_" not in _first_line(find_config(name)):
        return "its first line must be '# @package _global_', since it sets keys of several groups."
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        close = difflib.get_close_matches(option, list_options(group), 1)
        return f"there is no {error.missing_cfg_file}.yaml, which its defaults name.{_did_you_mean(close)}"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        section, _, key = cause.full_key.rpartition(".")
        kind = cause.object_type
        if any(key in inner.__dataclass_fields__ for inner in _subclasses(kind)):
            return (
                f"{cause.full_key} is a key of some options of {section} alone, and the file does not say of which. "
                f"Begin its defaults with that option, as in '- {list_options(section)[-1]}', or with its schema."
            )
        siblings = [f"{section}.{name}" for name in getattr(kind, "__dataclass_fields__", ())]
        return explain_unknown_key(cause.full_key, siblings or list_keys(command))
    if isinstance(cause, OmegaConfBaseException):
        reason = str(cause).partition("\n")[0]
        value = re.match(r"Value '(.*?)' of type", reason) or re.match(r"Invalid value '(.*?)'", reason)
        override = f"{cause.full_key}={value[1] if value else '…'}"
        return f"{override}: {_explain_value(reason, override)}"
    return said


def require_options(arguments: Iterable[str], groups: Sequence[str]) -> None:
    """Refuse null, a number, true and false in the place of a group's option: Hydra would end with a traceback.

    Args:
        groups: config groups that the command has.
    Raises:
        UserError: there is such an argument.
    """
    for argument in arguments:
        group, _, value = argument.partition("=")
        if group in groups and re.fullmatch(r"null|true|false|[\d.]+", value, re.IGNORECASE):
            without = " To have none, leave it out." if value.casefold() == "null" else ""
            raise UserError(f"{argument}: expected one of {', '.join(list_options(group))}.{without}")


def list_options(group: str) -> list[str]:
    """List the options of a group: files of conf/ and of the user's own YAML."""
    folders = [CONF, *(folder.path for folder in own_folders(command_line()))]
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def find_config(name: str) -> Path:
    """Find the file of a config by its name, such as experiment/mine; where there is none, its place in conf/."""
    folders = [CONF, *(folder.path for folder in own_folders(command_line()))]
    paths = [folder / f"{name}.yaml" for folder in folders]
    return short_path(next((path for path in paths if path.is_file()), paths[0]))


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return ""


def _subclasses(kind: Any) -> Iterator[Any]:
    """Yield the dataclasses that inherit from a dataclass; of anything else there are none."""
    subclasses = kind.__subclasses__ if isinstance(kind, type) and is_dataclass(kind) else list
    for inner in subclasses():
        yield inner
        yield from _subclasses(inner)


def explain_unknown_key(key: str, known: Iterable[str]) -> str:
    """Say that there is no such key, and name the known ones that may be meant."""
    known = list(known)
    last = key.rpartition(".")[2]
    found = [name for name in known if name.rpartition(".")[2] == last][:3] or difflib.get_close_matches(key, known, 1)
    return f"{key}: there is no such key.{_did_you_mean(found)} --help lists them all."


def list_keys(command: str, overrides: Sequence[str] | None = None) -> list[str]:
    """List the keys and groups of a command's config, with the options that the command line chooses."""
    chosen = [a for a in (sys.argv[1:] if overrides is None else overrides) if re.fullmatch(r"[a-z_/]+=[\w/]+", a)]
    for overrides in (chosen, []):
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(CONF), **VERSION_BASE):
                config = OmegaConf.to_container(compose(command, overrides=overrides), resolve=False)
            break
        except (CompactHydraException, OmegaConfBaseException, MarkedYAMLError):
            config = {}
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
