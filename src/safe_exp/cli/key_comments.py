"""The comments on keys: behind the fields of the config dataclasses, and in the files of conf/.

They are the one home of a key's meaning: --help shows them, and so does the documentation's page of keys
(docs/generate_keys.py).
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, cast

from omegaconf import DictConfig, OmegaConf


class KeyRow(NamedTuple):
    """A key with its value in a composed config."""

    key: str
    type: str  # as text; the choices of an enum stand on further lines
    value: Any
    comment: str  # behind the field of its dataclass; empty without one


def list_key_rows(node: DictConfig, prefix: str = "") -> list[KeyRow]:
    """List all keys below a node, nested configs included; `prefix` is the node's own key, empty for a whole config."""
    kind = OmegaConf.get_type(node)
    typed = dataclasses.is_dataclass(kind)
    hints = typing.get_type_hints(kind) if typed else {}
    comments = field_comments(kind) if typed else {}
    values = as_written(node)
    rows: list[KeyRow] = []
    for name in map(str, node):
        key = f"{prefix}.{name}" if prefix else name
        inner = None if OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name) else node[name]
        if isinstance(inner, DictConfig) and len(inner):
            rows += list_key_rows(inner, key)
        else:
            type_name = type_text(hints.get(name, type(values[name])))
            rows.append(KeyRow(key, type_name, values[name], comments.get(name, "")))
    return rows


def as_written(node: DictConfig) -> dict[str, Any]:
    """Return the values as written in conf/: interpolations unresolved, lists as lists, enums by name."""
    return cast("dict[str, Any]", OmegaConf.to_container(node, resolve=False, enum_to_str=True))


def as_yaml(value: Any) -> str:
    """Write a value as on the command line."""
    if isinstance(value, list):
        return f"[{', '.join(map(as_yaml, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def field_comments(kind: type) -> dict[str, str]:
    """Read the comment behind each field of a dataclass and of its bases."""
    comments: dict[str, str] = {}
    for base in reversed([base for base in kind.__mro__ if dataclasses.is_dataclass(base)]):
        for line in _class_source(base).splitlines():
            if found := re.match(r"    (\w+): [^#]+#\s*(.+)", line):
                comments[found.group(1)] = found.group(2)
    return comments


def _class_source(kind: type) -> str:
    """Read the lines of a class; inspect.getsource parses the whole file, which takes ten times as long."""
    text = _read_text(inspect.getfile(kind))
    found = re.search(rf"^class {kind.__name__}\b.*?(?=^[^\s#)]|\Z)", text, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


@functools.cache
def _read_text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def yaml_comments(paths: list[Path], prefix: str) -> dict[str, str]:
    """Read the comment behind each key of these files, by dotted key; a level is indented by two spaces."""
    comments: dict[str, str] = {}
    for path in paths:
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        above = [] if "@package _global_" in text.partition("\n")[0] else [prefix] if prefix else []
        levels: list[str] = []
        for line in text.splitlines():
            found = re.match(r"( *)([\w.]+):[^#]*(?:#\s*(.+))?$", line)
            if found:
                levels = [*levels[: len(found.group(1)) // 2], found.group(2)]
                if found.group(3):
                    comments[".".join([*above, *levels])] = found.group(3)
    return comments


def header_comment(path: Path) -> list[str]:
    """Read the comment at the head of a YAML file, line by line, without the marks."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.removeprefix("#").removeprefix(" "))
    return lines


def nearest(notes: dict[str, str], key: str) -> str:
    """Return the comment on a key, or else on the section that holds it."""
    return notes.get(key) or notes.get(key.rpartition(".")[0], "")


def type_text(hint: Any) -> str:
    """Describe a type; the choices of an enum stand on further lines."""
    if hint is Any:
        return "any"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "\n".join(["a name", *enum_comments(hint)])
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if argument is type(None) else type_text(argument) for argument in arguments)
    if origin is dict:
        return "mapping"
    if origin is list:
        return f"list of {type_text(arguments[0])}"
    return {"str": "text", "int": "integer", "float": "number", "bool": "true · false"}.get(
        hint.__name__, hint.__name__
    )


def enum_comments(kind: type[Enum]) -> list[str]:
    """List the choices of an enum, each with the comment behind it."""
    source = _class_source(kind)
    said = dict(re.findall(r"^    (\w+) = \"[^\"]*\"\s*#\s*(.+)$", source, re.MULTILINE))
    return [f"`{member.value}`" + (f": {said[member.name]}" if member.name in said else "") for member in kind]
