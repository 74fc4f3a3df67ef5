"""A Markdown page of all configuration keys, made from the config dataclasses and from conf/, with their comments.

`python docs/generate_keys.py` prints the page; site_hooks.py adds it to the documentation.
"""

from __future__ import annotations

import dataclasses
import typing
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from safe_exp.cli.key_comments import (
    KeyRow,
    as_written,
    as_yaml,
    field_comments,
    header_comment,
    list_key_rows,
    nearest,
    type_text,
    yaml_comments,
)
from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.system.versions import PACKAGE

NOT_GROUPS = {"hydra", "base"}  # Hydra's own settings, and defaults that several options share
# Groups whose options are presets; the comment at the head of each file describes it.
COLLECTIONS = {"experiment": "Experiments", "debug": "Debug presets", "sweep": "Sweeps"}
INTRODUCTIONS = {
    "trainer": "Each key is an argument of `pytorch_lightning.Trainer`; `null` leaves its value to Lightning.",
}


def commands() -> list[str]:
    """List the commands, which have a module and a config each; train is the first."""
    found = sorted(path.stem for path in CONF.glob("*.yaml") if (PACKAGE / f"{path.stem}.py").exists())
    return sorted(found, key=lambda name: name != "train")


def list_groups(command: str) -> list[str]:
    """List the config groups in a command's defaults."""
    defaults = OmegaConf.load(CONF / f"{command}.yaml").get("defaults") or []
    names = [next(iter(entry)) for entry in defaults if isinstance(entry, DictConfig)]
    return [name for name in names if (CONF / name).is_dir() and name not in NOT_GROUPS]


@dataclasses.dataclass
class Row:
    """A key in a table of the page."""

    key: str
    type: str  # as text; the choices of an enum stand on further lines
    values: dict[str, Any]  # option of the group → value there
    options: int  # number of options of the group
    meaning: str


def keys_page() -> str:
    """Make the page of all groups and their keys."""
    lines = [
        "# Configuration keys",
        "",
        "All keys, with their types, values and meanings. Set a key with `model.alpha=0.4`, an option of a group with "
        "`model=text_only`. `???` must be given; `null` is no value. *Italics* give the reason for a value. This page "
        "is made from the config dataclasses (`safe_exp/`) and from `conf/` when the site is built.",
    ]
    for group, command in all_groups().items():
        rows = group_rows(group, command)
        options = [path.stem for path in sorted((CONF / group).glob("*.yaml"))]
        named = " · ".join(f"`{option}`" for option in options)
        lines += ["", f"## {group}", "", f"`{group}=` {named}", ""]
        lines += [f"- `{group}={option}`: {cell(' '.join(text))}" for option in options
                  if (text := header_comment(CONF / group / f"{option}.yaml"))]  # fmt: skip
        lines += ["", INTRODUCTIONS[group]] if group in INTRODUCTIONS else []
        lines += ["", *table(rows)]
    return "\n".join(lines) + "\n"


def all_groups() -> dict[str, str]:
    """Map each group to the first command that has it."""
    found: dict[str, str] = {}
    for command in commands():
        for group in list_groups(command):
            if group not in COLLECTIONS:
                found.setdefault(group, command)
    return found


def group_rows(group: str, command: str) -> list[Row]:
    """Collect the keys of all options of a group."""
    options = [path.stem for path in sorted((CONF / group).glob("*.yaml"))]
    rows: dict[str, Row] = {}
    for option in options:
        node = compose(command, overrides=[f"{group}={option}"]).get(group)
        if node is None:
            continue
        notes = yaml_comments([CONF / "base" / f"{group}.yaml", CONF / group / f"{option}.yaml"], group)
        for key, type_name, value, comment in [
            *list_key_rows(node, group),
            *elsewhere(CONF / group / f"{option}.yaml", group),
        ]:
            row = rows.setdefault(key, Row(key, type_name, {}, len(options), ""))
            row.values[option] = value
            row.meaning = row.meaning or meaning(comment, nearest(notes, key))
    return list(rows.values())


def elsewhere(path: Path, group: str) -> list[KeyRow]:
    """Find the keys that an option sets outside its group, as optimizer=adam sets model.gamma."""
    if "@package _global_" not in path.read_text(encoding="utf-8").partition("\n")[0]:
        return []
    content = OmegaConf.load(path)
    others = [name for name in content if name not in ("defaults", group) and isinstance(content[name], DictConfig)]
    return [row for name in others for row in list_key_rows(content[name], name)]


def schema_rows(command: str) -> list[Row]:
    """Collect a command's own keys, which belong to no group."""
    schema = OmegaConf.get_type(ConfigStore.instance().load(f"{command}_schema.yaml").node)
    notes, comments = yaml_comments([CONF / f"{command}.yaml"], ""), field_comments(schema)
    composed = compose(command)
    values = as_written(composed)
    hints = typing.get_type_hints(schema)
    sections = [name for name, kind in hints.items() if dataclasses.is_dataclass(kind) and not (CONF / name).is_dir()]
    nested = [
        Row(key, kind, {"": value}, 1, comment)
        for name in sections
        if name in composed and not OmegaConf.is_missing(composed, name)
        for key, kind, value, comment in list_key_rows(composed[name], name)
    ]
    return [
        Row(
            name,
            type_text(hints[name]),
            {"": values[name]},
            1,
            meaning(comments.get(name, ""), notes.get(name, "")),
        )
        for name in (field.name for field in dataclasses.fields(schema))
        if not dataclasses.is_dataclass(hints[name])
    ] + nested  # fmt: skip


def meaning(key_comment: str, value_comment: str) -> str:
    """Join the comment in the dataclass, which explains the key, and that in conf/, the reason for the value."""
    alike = SequenceMatcher(None, key_comment, value_comment).ratio() > 0.6
    alike = alike or value_comment.casefold() in key_comment.casefold()
    if key_comment and value_comment and not alike:
        return f"{cell(key_comment)}<br>*{cell(value_comment)}*"
    return cell(key_comment or value_comment)


def table(rows: list[Row]) -> list[str]:
    """Write a table of keys, line by line."""
    lines = ["| key | value | meaning |", "| --- | --- | --- |"]
    for row in rows:
        kind, _, choices = row.type.partition("\n")
        text = "<br>".join(filter(None, [row.meaning, cell(choices).replace("\n", "<br>")]))
        lines.append(f"| `{row.key}`<br>{cell(kind)} | {default_text(row)} | {text} |")
    return lines


def default_text(row: Row) -> str:
    """Write the value that most options have, then the options with another one."""
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


def cell(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    for character in "|*":
        text = text.replace(character, f"\\{character}")
    return text.replace("<", "&lt;")


if __name__ == "__main__":
    register_schemas()
    register_resolvers()
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        print(keys_page(), end="")
