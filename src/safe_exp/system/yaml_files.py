"""YAML files read as plain values."""

from pathlib import Path
from typing import Any

import yaml

YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast; absent from some builds of PyYAML


def read_yaml(path: Path, kind: type = dict) -> Any:
    """Plain values, interpolations as they stand; an empty `kind` when the file is missing, damaged or another kind."""
    try:
        with open(path, encoding="utf-8") as handle:
            content = yaml.load(handle, YamlLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return kind()
    return content if isinstance(content, kind) else kind()
