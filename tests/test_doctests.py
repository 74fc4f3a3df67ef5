"""The examples in the docstrings of the rooms that compute: each is run, and the public functions have them."""

import doctest
import pkgutil
from importlib import import_module
from inspect import getmodule

import pytest

from safe_exp import equations

PACKAGES = ("safe_exp.equations", "safe_exp.network", "safe_exp.scoring")
MODULES = [
    f"{package}.{module.name}"
    for package in PACKAGES
    for module in pkgutil.iter_modules(import_module(package).__path__)
    if not module.ispkg
]
WITHOUT_EXAMPLES = {  # modules, and what they do instead of computing
    "safe_exp.scoring.charts": "tabulates what other modules compute",
    "safe_exp.scoring.epoch_values": "writes and reads a file",
    "safe_exp.scoring.results": "writes files",
    "safe_exp.scoring.table": "prints a table",
    "safe_exp.scoring.trust": "writes sentences",
}
PUBLIC = {
    "safe_exp.network.released_network": {"ReleasedNetwork", "split_title"},
    "safe_exp.network.safe_network": {"SafeNetwork"},
    "safe_exp.scoring.calibration": {"best_threshold", "fit_temperature"},
    "safe_exp.scoring.intervals": {"bootstrap_intervals"},
    "safe_exp.scoring.reliability": {"reliability"},
    "safe_exp.scoring.scores": {"class_balance", "scorer_figures", "split_figures"},
}


def examples(name: str) -> dict[str, doctest.DocTest]:
    """The examples of a module, by the function or class whose docstring holds them."""
    found = doctest.DocTestFinder(exclude_empty=True).find(import_module(name), name)
    return {test.name.removeprefix(f"{name}."): test for test in found if test.examples}


@pytest.mark.parametrize("name", [name for name in MODULES if name not in WITHOUT_EXAMPLES])
def test_each_example_gives_what_it_shows(name):
    found = examples(name)
    assert found
    runner = doctest.DocTestRunner()  # it prints what differs, which pytest shows
    for test in found.values():
        runner.run(test)
    assert runner.failures == 0


def test_modules_without_examples_are_there_and_have_none():
    assert set(WITHOUT_EXAMPLES) <= set(MODULES)
    assert not any(examples(name) for name in WITHOUT_EXAMPLES)


@pytest.mark.parametrize("name", equations.__all__)
def test_each_public_name_of_the_equations_has_an_example(name):
    assert name in examples(getmodule(getattr(equations, name)).__name__)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_networks_and_scores_have_an_example(name):
    assert PUBLIC[name] <= set(examples(name))
