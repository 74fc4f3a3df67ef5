"""--help: the use of a command, its groups, and every key with its value and its meaning.

Hydra's own --help copies all configs 120 times to list its groups, which takes a second.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import CompactHydraException
from omegaconf import open_dict
from yaml import MarkedYAMLError

from safe_exp.cli.key_comments import KeyRow, as_yaml, header_comment, list_key_rows, nearest, yaml_comments
from safe_exp.cli.mistakes import explain_error, explain_unknown_key, find_config, list_options
from safe_exp.config import CONF
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.runs.own_yaml import split_config_dir

WIDTH = 100  # columns, at most
KEY_WIDTH = 36  # columns of key=value, before its meaning

USE = """{summary}

  python -m safe_exp.{command} [key=value …] [-m]

-m, --multirun     run every combination of comma-separated values: model.alpha=0.2,0.4,0.6
--cfg job          print the config and run nothing
--config-dir DIR   also read YAML files of your own from DIR; those in ./conf are always read
--help NAME …      explain only these groups or keys, as in --help model data.split
--hydra-help       the flags that every Hydra application has
"""


def help_asked(arguments: Sequence[str]) -> bool:
    """Tell whether --help is among the arguments."""
    return any(argument in ("--help", "-h") for argument in arguments)


def print_help(command: str, summary: str, groups: Sequence[str], arguments: Sequence[str]) -> None:
    """Print a command's use, groups and keys, with the values that the rest of the command line gives.

    Args:
        command: its name, such as train.
        summary: first line of its help.
        groups: config groups that it has.
        arguments: of the command line. Words without = are names of groups or keys, which alone are explained then.
    Raises:
        SystemExit: the config cannot be composed, or there is no such name; the message is printed.
    """
    others = [a for a in split_config_dir(arguments)[1] if not a.startswith("-")]
    overrides = [argument for argument in others if "=" in argument]
    names = [argument for argument in others if "=" not in argument]
    try:
        rows, choices = composed_rows(command, overrides)
    except (CompactHydraException, MarkedYAMLError) as error:
        print(explain_error(error, command), file=sys.stderr)
        raise SystemExit(1) from None
    lines = _explained(names, rows, groups, choices) if names else _all(command, summary, rows, groups, choices)
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def composed_rows(command: str, overrides: list[str]) -> tuple[list[KeyRow], Mapping[str, Any]]:
    """Compose a command's config; return its keys, each with its meaning, and the chosen option of each group.

    Raises:
        CompactHydraException: Hydra cannot compose it.
        MarkedYAMLError: a file is not valid YAML.
    """
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        config = compose(command, overrides=overrides, return_hydra_config=True)
    choices = {name: option for name, option in config.hydra.runtime.choices.items() if option is not None}
    with open_dict(config):
        del config["hydra"]
    notes = yaml_comments([CONF / f"{command}.yaml"], "")
    for group, chosen in choices.items():
        options = [chosen] if isinstance(chosen, str) else list(chosen)  # several, as in 'logger=[csv,wandb]'
        paths = [CONF / "base" / f"{group}.yaml", *(find_config(f"{group}/{option}") for option in options)]
        notes |= yaml_comments(paths, group)
    return [row._replace(comment=row.comment or nearest(notes, row.key)) for row in list_key_rows(config)], choices


def _all(
    command: str, summary: str, rows: Sequence[KeyRow], groups: Sequence[str], choices: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the lines of the whole help."""
    yield USE.format(summary=summary, command=command)
    if groups:
        yield "Groups (group=option)"
        width = max(map(len, groups)) + 4
        for group in groups:
            options = ", ".join(list_options(group))
            yield from _wrapped(f"  {group}: ".ljust(width), options, width)
        yield ""
    yield "Keys and what they are set to now (key=value)"
    sections = {row.key.partition(".")[0]: None for row in rows if "." in row.key}
    for section in (*sections, ""):  # the command's own keys last
        yield f"\n{section}={choices[section]}" if section in choices else f"{section and chr(10)}{section}"
        for row in rows:
            if row.key.startswith(f"{section}.") if section else "." not in row.key:
                yield from _row(row)


def _explained(
    names: Sequence[str], rows: Sequence[KeyRow], groups: Sequence[str], choices: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the lines about some groups and keys.

    Raises:
        SystemExit: there is no such group or key.
    """
    for number, name in enumerate(names):
        found = [row for row in rows if row.key == name or row.key.startswith(f"{name}.")]
        if not found and name not in groups:
            known = [*groups, *(row.key for row in rows)]
            print(explain_unknown_key(name, known), file=sys.stderr)
            raise SystemExit(1)
        if number:
            yield ""
        if name in groups:
            yield f"{name}=… is one of these; now it is {choices.get(name, 'none')}"
            for option in list_options(name):
                about = itertools.takewhile(lambda line: not line.startswith(" "), _header(f"{name}/{option}"))
                yield from _wrapped(f"  {option}".ljust(22), " ".join(about), 22)
            yield ""
        for row in found:
            yield from _row(row)
            kind, *members = row.type.split("\n")
            if len(found) == 1:
                yield f"{'':{KEY_WIDTH}}({kind})"
                for member in members:
                    yield from _wrapped(" " * KEY_WIDTH, member.replace("`", ""), KEY_WIDTH + 2)


def _header(name: str) -> list[str]:
    """Read the comment at the head of a config; a config of a plugin has no file, and so none."""
    path = find_config(name)
    return header_comment(path) if path.is_file() else []


def _row(row: KeyRow) -> Iterator[str]:
    """Yield the lines of one key: key=value, then its meaning beside it or, if there is no room, below."""
    setting = f"  {row.key}={as_yaml(row.value)}"
    choices = [line.partition("`")[2].partition("`")[0] for line in row.type.split("\n")[1:]]
    meaning = row.comment + (f": {', '.join(choices)}" if choices else "")
    if len(setting) >= KEY_WIDTH:
        yield setting
        setting = ""
    if meaning or setting:
        yield from _wrapped(setting.ljust(KEY_WIDTH), meaning, KEY_WIDTH)


def _wrapped(start: str, text: str, indent: int) -> Iterable[str]:
    """Wrap a text to the terminal's width, behind `start` and then with an indent."""
    text = re.sub(r"([<>]=?) ", "\\1\u00a0", text)  # kept together: textwrap breaks at no other blank than this one
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    lines = textwrap.wrap(
        text, max(width, indent + 24), initial_indent=start, subsequent_indent=" " * indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace("\u00a0", " ") for line in lines] or [start.rstrip()]
