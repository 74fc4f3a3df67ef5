"""The public API of the package: the names that `import safe_exp` gives."""

import subprocess
import sys

import pytest

import safe_exp
from safe_exp import equations, network


def test_the_public_names_are_those_of_their_rooms():
    homes = {name: network if name == "SafeNetwork" else equations for name in safe_exp.__all__}
    assert {name: getattr(safe_exp, name) for name in homes} == {n: getattr(home, n) for n, home in homes.items()}
    assert set(safe_exp.__all__) <= set(dir(safe_exp))


def test_another_name_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'safe_exp' has no attribute 'nothing'"):
        safe_exp.nothing  # noqa: B018


def test_the_package_is_imported_without_torch():
    check = "import sys, safe_exp; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
