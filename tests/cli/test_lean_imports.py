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


def test_the_first_imports_are_left_alone_by_the_garbage_collector_and_no_later_ones():
    code = """
import gc
from safe_exp.cli.lean_imports import lasting_imports
try:
    with lasting_imports():
        assert not gc.isenabled()
        raise KeyError
except KeyError:
    pass
frozen = gc.get_freeze_count()
assert gc.isenabled() and frozen > 1000
kept = []
with lasting_imports():
    assert gc.isenabled()
    kept += [[] for _ in range(1000)]
assert gc.get_freeze_count() <= frozen
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
