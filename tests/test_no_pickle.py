"""No module reads a pickle, or anything else that runs code when it is read: files come from strangers."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from safe_exp.system.versions import PACKAGE
from safe_exp.system.yaml_files import YamlLoader

CHECKOUT = Path(__file__).resolve().parents[1]
MODULES = {"pickle", "cPickle", "_pickle", "pickletools", "dill", "cloudpickle", "jsonpickle", "joblib", "shelve",
           "marshal"}  # fmt: skip
CALLS = {
    "eval", "exec", "compile", "builtins.eval", "builtins.exec", "yaml.unsafe_load", "yaml.unsafe_load_all",
    "yaml.full_load", "yaml.full_load_all", "pandas.read_pickle", "torch.package.PackageImporter", "torch.jit.load",
    "torch.hub.load", "torch.hub.load_state_dict_from_url", "numpy.lib.format.read_array",
}  # fmt: skip
NEEDED = {  # what must be said in a call, even where it is the library's default of today
    "torch.load": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
    "numpy.lib.npyio.NpzFile": ("allow_pickle", False),
    "numpy.save": ("allow_pickle", False),
}
YAML_LOADERS = {"SafeLoader", "CSafeLoader", "YamlLoader"}  # the last is ours, and one of the others


def findings(source: str) -> Iterator[str]:
    """Yield the faults of a piece of Python: line, and the call or import that could run code."""
    tree = ast.parse(source)
    names = dict(_imported(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"line {node.lineno}: imports {m}" for m in modules if m.partition(".")[0] in MODULES)
        elif isinstance(node, ast.Call) and (fault := _find_fault(_dotted(node.func, names), node)):
            yield f"line {node.lineno}: {fault}"


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that a module imports, and their full names: np and numpy, load and torch.load."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname, alias.name) for alias in node.names if alias.asname)
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def _find_fault(called: str, call: ast.Call) -> str | None:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if called in CALLS or called == "__import__":
        return f"calls {called}"
    if called.endswith((".read_pickle", ".to_pickle")):
        return f"calls {called}"
    if called in NEEDED:
        name, value = NEEDED[called]
        if not (isinstance(given.get(name), ast.Constant) and given[name].value is value):
            return f"calls {called} without {name}={value}"
    for name, value in (("weights_only", True), ("allow_pickle", False)):
        if name in given and not (isinstance(given[name], ast.Constant) and given[name].value is value):
            return f"gives {name}={ast.unparse(given[name])}"
    if called in ("yaml.load", "yaml.load_all"):
        loader = given.get("Loader", call.args[1] if len(call.args) > 1 else None)
        if loader is None or ast.unparse(loader).rpartition(".")[2] not in YAML_LOADERS:
            return f"calls {called} without a safe loader"
    return None


def sources() -> dict[str, str]:
    """Read every piece of Python of the project but its tests, by name."""
    found = {}
    for folder in (PACKAGE.parent, CHECKOUT / "benchmarks", CHECKOUT / "docs", CHECKOUT / ".ci"):
        found |= {str(path): path.read_text(encoding="utf-8") for path in folder.rglob("*.py")}
    for path in (CHECKOUT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        lines = "\n".join(code).splitlines()
        found[str(path)] = "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
    return found


def test_no_module_reads_what_could_run_code():
    read = sources()
    assert len(read) > 80  # an empty list would pass
    found = [f"{name}, {finding}" for name, source in read.items() for finding in findings(source)]
    assert not found, "\n".join(found)


def test_our_yaml_loader_is_a_safe_one():
    assert issubclass(YamlLoader, yaml.SafeLoader | getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import joblib\n",
        "import dill as json",
        "import shelve, marshal",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch\ntorch.load(path, weights_only=flag)",
        "import torch as t\nt.load(path, map_location='cpu')",
        "from torch import load\nload(path)",
        "from torch import load as read\nread(path)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import pandas as pd\npd.read_pickle(path)",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.load(text, yaml.Loader)",
        "import yaml\nyaml.load(text, Loader=yaml.UnsafeLoader)",
        "from yaml import load\nload(text)",
        "import yaml\nyaml.unsafe_load(text)",
        "eval(text)",
        "exec(text)",
        "anything(allow_pickle=True)",
        "loader.load_checkpoint(path, weights_only=False)",
        "__import__('pickle')",
    ],
)
def test_a_planted_reader_is_found(planted):
    assert list(findings(planted))


@pytest.mark.parametrize(
    "harmless",
    [
        "import torch\ntorch.load(path, weights_only=True)",
        "import numpy as np\nnp.load(path, mmap_mode='c', allow_pickle=False)",
        "import yaml\nyaml.safe_load(text)\nyaml.load(text, yaml.SafeLoader)",
        "module.eval()\njson.load(file)\nre.compile('x')",
    ],
)
def test_what_is_harmless_is_let_through(harmless):
    assert not list(findings(harmless))
