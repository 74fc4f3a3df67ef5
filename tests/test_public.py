"""The public API of the package: the names that `import safe_exp` gives."""

import subprocess
import sys

import pytest

import safe_exp
from safe_exp import equations, network
from safe_exp.api import trained_model, training_run
from safe_exp.system import errors


def test_the_public_names_are_those_of_their_rooms():
    homes = dict.fromkeys(["algorithm1_epoch", "closed_form_gradients", "safe_loss"], equations)
    homes |= {"SafeNetwork": network, "UserError": errors, "TrainingRun": training_run}
    homes |= dict.fromkeys(["load", "TrainedModel"], trained_model)
    assert {name: getattr(safe_exp, name) for name in homes} == {n: getattr(home, n) for n, home in homes.items()}
    assert set(safe_exp.__all__) == {*homes, "train"}
    assert set(safe_exp.__all__) <= set(dir(safe_exp))


def test_another_name_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'safe_exp' has no attribute 'nothing'"):
        safe_exp.nothing  # noqa: B018


def test_the_package_is_imported_without_torch():
    check = "import sys, safe_exp; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "lines",
    [
        "import safe_exp; first = safe_exp.train; import safe_exp.train",
        "import safe_exp.train; first = safe_exp.train; from safe_exp.train import main",
        "from safe_exp import train as first; import safe_exp.train as module; assert module is first; import safe_exp",
    ],
)
def test_train_is_a_function_and_the_module_of_the_command_whichever_is_imported_first(lines):
    check = """
assert safe_exp.train is first and first.__name__ == "safe_exp.train" and callable(first.main)
try:
    safe_exp.train(["-m", "seed=0,1"])
except safe_exp.UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", f"{lines}\n{check}"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("-m: train makes one run.")
