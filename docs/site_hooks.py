"""Hooks of MkDocs (mkdocs.yml): pages that are made while the site is built, so that they cannot go stale.

reference/keys.md and reference/commands.md come from the typed config and conf/. The notebooks are taken from
notebooks/: pages link to them as `../notebooks/…`, which is right on a code host; on the site it is `notebooks/…`.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from generate_keys import COLLECTIONS, commands, groups_of, header_comment, keys_page, schema_rows, table
from hydra import initialize_config_dir
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF
from safe_exp.system.versions import PACKAGE

TOP = Path(__file__).resolve().parents[1]


@event_priority(100)  # before the plugin that turns notebooks into pages
def on_files(files: Files, config: Any) -> Files:
    register_schemas()
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        files.append(File.generated(config, "reference/commands.md", content=commands_page()))
        files.append(File.generated(config, "reference/keys.md", content=keys_page()))
    for notebook in sorted((TOP / "notebooks").glob("*.ipynb")):
        name = notebook.relative_to(TOP).as_posix()
        files.append(File(name, str(TOP), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    return markdown.replace("](../notebooks/", "](notebooks/")


def commands_page() -> str:
    lines = [
        "# Commands",
        "",
        "Each is started as a module, from any folder, and takes `key=value` and `group=option`. This page is made "
        "from `conf/` when the site is built. All commands share:",
        "",
        "| flag | what it does |",
        "| --- | --- |",
        "| `--help` | groups, their options, and every key with its value |",
        "| `--cfg job` | prints the config that would be used, and runs nothing |",
        "| `-m`, `--multirun` | runs every combination of comma-separated values, each as a job; may stand anywhere |",
    ]
    for name in commands():
        header, groups = header_comment(CONF / f"{name}.yaml"), groups_of(name)
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
            lines += ["", f"## {title}", "", f"`{group}=NAME` sets all that belongs to it; more keys can be added."]
        for path in options:
            lines += ["", f"### {group}={path.stem}", "", "```", *header_comment(path), "```"]
    return "\n".join(lines) + "\n"


def summary(name: str) -> str:
    """The module's own line about its command: its docstring, behind the colon."""
    first = (ast.get_docstring(ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    text = " ".join(first.split()).partition(": ")[2]
    return text[:1].upper() + text[1:]
