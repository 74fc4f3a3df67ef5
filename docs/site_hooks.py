"""Hooks of MkDocs (see mkdocs.yml), which make the reference pages anew in each build.

reference/keys.md and reference/commands.md are made from the config dataclasses and conf/. The notebooks come from
notebooks/. Pages link to them as `../notebooks/…`, which is right on a code host; on the site it becomes `notebooks/…`.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from generate_keys import COLLECTIONS, commands, keys_page, list_groups, schema_rows, table
from hydra import initialize_config_dir
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

from safe_exp.cli.key_comments import header_comment
from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.system.versions import PACKAGE

TOP = Path(__file__).resolve().parents[1]


@event_priority(100)  # before the plugin that turns notebooks into pages
def on_files(files: Files, config: Any) -> Files:
    """Add the reference pages and the notebooks to the site."""
    register_schemas()
    register_resolvers()
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        files.append(File.generated(config, "reference/commands.md", content=commands_page()))
        files.append(File.generated(config, "reference/keys.md", content=keys_page()))
    for notebook in sorted((TOP / "notebooks").glob("*.ipynb")):
        name = notebook.relative_to(TOP).as_posix()
        files.append(File(name, str(TOP), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Make links to notebooks right for the site."""
    return markdown.replace("](../notebooks/", "](notebooks/")


def commands_page() -> str:
    """Make the page of all commands, experiments and sweeps."""
    lines = [
        "# Commands",
        "",
        "Commands are started as modules, from any folder, and take `key=value` and `group=option`. This page is made "
        "from `conf/` when the site is built. All commands share:",
        "",
        "| flag | effect |",
        "| --- | --- |",
        "| `--help` | list the groups with their options, and every key with its value and its meaning |",
        "| `--help NAME …` | explain only these groups or keys, as in `--help model data.split` |",
        "| `--config-dir DIR` | also read [YAML files of your own](../your-own-yaml.md) from `DIR` |",
        "| `--cfg job` | print the config that would be used, and run nothing |",
        "| `-m`, `--multirun` | run every combination of comma-separated values, each as a job; may stand anywhere |",
    ]
    for name in commands():
        header, groups = header_comment(CONF / f"{name}.yaml"), list_groups(name)
        lines += ["", f"## {name}", "", summary(name), "", "```", *header, "```", ""]
        if groups:
            links = ", ".join(f"[`{group}`](keys.md#{group})" for group in groups if group not in COLLECTIONS)
            lines += [f"Groups: {links}.", ""]
        rows = [row for row in schema_rows(name) if row.key not in groups]
        if rows:
            lines += table(rows)
    for group, title in COLLECTIONS.items():
        options = sorted((CONF / group).glob("*.yaml"))
        if options:
            lines += [
                "",
                f"## {title}",
                "",
                f"`{group}=NAME` sets all keys of the preset; others can be given beside it.",
            ]
        for path in options:
            lines += ["", f"### {group}={path.stem}", "", "```", *header_comment(path), "```"]
    return "\n".join(lines) + "\n"


def summary(name: str) -> str:
    """Read the sentence about a command: the first paragraph of its module's docstring, after the colon."""
    first = (ast.get_docstring(ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    text = " ".join(first.split()).partition(": ")[2]
    return text[:1].upper() + text[1:]
