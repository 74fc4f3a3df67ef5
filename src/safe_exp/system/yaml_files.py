"""YAML files read as plain values."""

from pathlib import Path
from typing import Any

import yaml

YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast; absent from some builds of PyYAML


def read_yaml(path: Path, kind: type = dict) -> Any:
    """Read a YAML file as plain values, without resolving interpolations.

    A file that is missing, damaged or holds another kind of value gives an empty `kind`.
    """
    try:
        with open(path, encoding="utf-8") as handle:
            content = yaml.load(handle, YamlLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return kind()
    return content if isinstance(content, kind) else kind()
