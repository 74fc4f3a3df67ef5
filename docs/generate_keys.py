"""Every key of the config as a Markdown page, from the typed config, conf/*.yaml and its comments.

`python docs/generate_keys.py` prints it; site_hooks.py makes it a page of the documentation.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from difflib import SequenceMatcher
from enum import Enum
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF
from safe_exp.system.versions import PACKAGE

NOT_GROUPS = {"hydra", "base"}  # Hydra's own settings, and what several options share
COLLECTIONS = {
    "experiment": "Experiments",
    "sweep": "Sweeps",
}  # each option is a whole setting, described by its header
TRAINER = "As the argument of `pytorch_lightning.Trainer`."


def commands() -> list[str]:
    """Every command that has a config and a module, train first."""
    found = sorted(path.stem for path in CONF.glob("*.yaml") if (PACKAGE / f"{path.stem}.py").exists())
    return sorted(found, key=lambda name: name != "train")


def groups_of(command: str) -> list[str]:
    defaults = OmegaConf.load(CONF / f"{command}.yaml").get("defaults") or []
    names = [next(iter(entry)) for entry in defaults if isinstance(entry, DictConfig)]
    return [name for name in names if (CONF / name).is_dir() and name not in NOT_GROUPS]


def header_comment(path: Path) -> list[str]:
    """The comment at the head of a YAML file, without its marks."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.removeprefix("#").removeprefix(" "))
    return lines


@dataclasses.dataclass
class Row:
    key: str
    type: str
    values: dict[str, Any]  # option of the group → default
    options: int  # how many options the group has
    meaning: str


def keys_page() -> str:
    lines = [
        "# Configuration keys",
        "",
        "Every key, with its type below it, and what it is set to. Keys are given as `model.alpha=0.4`, options of a "
        "group as `model=text_only`; `???` must be given, `null` is none. *Italics* say why a value is as it is. This "
        "page is made from the typed config (`safe_exp/`) and from `conf/` when the site is built.",
    ]
    for group, command in all_groups().items():
        rows = group_rows(group, command)
        options = [path.stem for path in sorted((CONF / group).glob("*.yaml"))]
        named = " · ".join(f"`{option}`" for option in options)
        lines += ["", f"## {group}", "", f"`{group}=` {named}", ""]
        lines += [f"- `{group}={option}`: {cell(' '.join(text))}" for option in options
                  if (text := header_comment(CONF / group / f"{option}.yaml"))]  # fmt: skip
        lines += ["", *table(rows)]
    return "\n".join(lines) + "\n"


def all_groups() -> dict[str, str]:
    """Each group, and the first command that has it."""
    found: dict[str, str] = {}
    for command in commands():
        for group in groups_of(command):
            if group not in COLLECTIONS:
                found.setdefault(group, command)
    return found


def group_rows(group: str, command: str) -> list[Row]:
    options = [path.stem for path in sorted((CONF / group).glob("*.yaml"))]
    rows: dict[str, Row] = {}
    for option in options:
        node = compose(command, overrides=[f"{group}={option}"]).get(group)
        if node is None:
            continue
        notes = yaml_comments([CONF / "base" / f"{group}.yaml", CONF / group / f"{option}.yaml"], group)
        for key, type_name, value, comment in [*flat(node, group), *elsewhere(CONF / group / f"{option}.yaml", group)]:
            row = rows.setdefault(key, Row(key, type_name, {}, len(options), ""))
            row.values[option] = value
            said = meaning(comment, nearest(notes, key))
            row.meaning = row.meaning or said or (TRAINER if group == "trainer" else "")
    return list(rows.values())


def elsewhere(path: Path, group: str) -> list[tuple[str, str, Any, str]]:
    """What an option sets outside of its group, as optimizer=adam sets model.gamma."""
    if "@package _global_" not in path.read_text(encoding="utf-8").partition("\n")[0]:
        return []
    content = OmegaConf.load(path)
    others = [name for name in content if name not in ("defaults", group) and isinstance(content[name], DictConfig)]
    return [row for name in others for row in flat(content[name], name)]


def nearest(notes: dict[str, str], key: str) -> str:
    """The comment on a key, or on the key that it lies below."""
    return notes.get(key) or notes.get(key.rpartition(".")[0], "")


def schema_rows(command: str) -> list[Row]:
    """The command's own keys, those of no group."""
    schema = OmegaConf.get_type(ConfigStore.instance().load(f"{command}_schema.yaml").node)
    notes, comments = yaml_comments([CONF / f"{command}.yaml"], ""), field_comments(schema)
    composed = compose(command)
    hints = typing.get_type_hints(schema)
    return [
        Row(
            name,
            type_text(hints[name]),
            {"": plain(composed, name)},
            1,
            meaning(comments.get(name, ""), notes.get(name, "")),
        )
        for name in (field.name for field in dataclasses.fields(schema))
        if not dataclasses.is_dataclass(hints[name])
    ]  # fmt: skip


def flat(node: DictConfig, prefix: str) -> list[tuple[str, str, Any, str]]:
    """(key, type, default, meaning) of everything below a node; nested configs are followed."""
    kind = OmegaConf.get_type(node)
    typed = dataclasses.is_dataclass(kind)
    hints = typing.get_type_hints(kind) if typed else {}
    comments = field_comments(kind) if typed else {}
    rows = []
    for name in node:
        key = f"{prefix}.{name}"
        inner = None if OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name) else node[name]
        if isinstance(inner, DictConfig) and len(inner):
            rows += flat(inner, key)
        else:
            type_name = type_text(hints.get(name, type(plain(node, name))))
            rows.append((key, type_name, plain(node, name), comments.get(name, "")))
    return rows


def plain(node: DictConfig, name: str) -> Any:
    """The value as it is written in conf/: interpolations unresolved, lists as lists, enums by name."""
    if OmegaConf.is_missing(node, name):
        return "???"
    return OmegaConf.to_container(node, resolve=False, enum_to_str=True).get(name)


def field_comments(kind: type) -> dict[str, str]:
    """The comment behind each field of a dataclass and of those it inherits from."""
    comments: dict[str, str] = {}
    for base in reversed([base for base in kind.__mro__ if dataclasses.is_dataclass(base)]):
        for line in inspect.getsource(base).splitlines():
            if found := re.match(r"    (\w+): [^#]+#\s*(.+)", line):
                comments[found.group(1)] = found.group(2)
    return comments


def yaml_comments(paths: list[Path], prefix: str) -> dict[str, str]:
    """The comment behind each key of these files, by its full name; nesting by two spaces, as we write it."""
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


def type_text(hint: Any) -> str:
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
    source = inspect.getsource(kind)
    said = dict(re.findall(r"^    (\w+) = \"[^\"]*\"\s*#\s*(.+)$", source, re.MULTILINE))
    return [f"`{member.value}`" + (f": {said[member.name]}" if member.name in said else "") for member in kind]


def meaning(of_key: str, of_value: str) -> str:
    """The comment in the typed config, which says what a key is, and that in conf/, which says why it has its value."""
    alike = SequenceMatcher(None, of_key, of_value).ratio() > 0.6 or of_value.casefold() in of_key.casefold()
    if of_key and of_value and not alike:
        return f"{cell(of_key)}<br>*{cell(of_value)}*"
    return cell(of_key or of_value)


def table(rows: list[Row]) -> list[str]:
    lines = ["| key | set to | what it means |", "| --- | --- | --- |"]
    for row in rows:
        kind, _, choices = row.type.partition("\n")
        said = "<br>".join(filter(None, [row.meaning if not choices else "", cell(choices).replace("\n", "<br>")]))
        lines.append(f"| `{row.key}`<br>{cell(kind)} | {default_text(row)} | {said} |")
    return lines


def default_text(row: Row) -> str:
    """The value that most options give, then the options that give another."""
    shown = {option: f"`{as_yaml(value)}`" for option, value in row.values.items()}
    if len(shown) > 1 and all(value == option for option, value in row.values.items()):
        return "the option's name"
    commonest = max(shown.values(), key=list(shown.values()).count)
    if len(shown) < row.options and len(set(shown.values())) == 1:
        return cell(f"{commonest} (only {', '.join(shown)})")
    if list(shown.values()).count(commonest) == 1 and len(shown) > 1:
        return "<br>".join(f"{option}: {cell(value)}" for option, value in shown.items())
    others = [f"{option}: {cell(value)}" for option, value in shown.items() if value != commonest]
    return "<br>".join([cell(commonest), *others])


def as_yaml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(as_yaml, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def cell(text: str) -> str:
    for character in "|*":
        text = text.replace(character, f"\\{character}")
    return text.replace("<", "&lt;")


if __name__ == "__main__":
    register_schemas()
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        print(keys_page(), end="")
