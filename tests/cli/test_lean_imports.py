"""Lightning is imported without the libraries of its metrics, which can be imported afterwards."""

import subprocess
import sys

import pytest

CHECK = """
import importlib.metadata, sys
{before}
there = {{name: module for name, module in sys.modules.items() if name.startswith(("scipy", "matplotlib"))}}
from safe_exp.cli.lean_imports import import_lightning
finders = list(sys.meta_path)
import_lightning()
assert {{type(finder).__name__ for finder in sys.meta_path if finder not in finders}} == {{"_Submodules"}}
now = {{name: module for name, module in sys.modules.items() if name.startswith(("scipy", "matplotlib"))}}
assert now == there, set(now) - set(there)
assert not {{"transformers", "scipy.signal", "matplotlib.pyplot"}} & set(sys.modules)
import matplotlib.pyplot, scipy.signal
assert importlib.metadata.version("scipy") == scipy.__version__
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "import scipy.stats, matplotlib.style"])
def test_torchmetrics_finds_nothing_that_it_could_import(before):
    code = CHECK.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
