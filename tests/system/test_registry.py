import sys

import pytest

from safe_exp.system.errors import UserError
from safe_exp.system.registry import Registry

COLOUR = """
from dataclasses import dataclass

import {package}


@dataclass
class Colour:
    name: str


{package}.colours.add(Colour("{name}"))
"""


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry of a package with two modules, each of which registers one entry."""
    package = tmp_path / "palette_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from safe_exp.system.registry import Registry\n\ncolours = Registry('paint', __name__)\n", encoding="utf-8"
    )
    for name in ("red", "blue"):
        (package / f"{name}.py").write_text(COLOUR.format(package=package.name, name=name), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__(package.name).colours
    for name in [name for name in sys.modules if name.startswith(package.name)]:
        del sys.modules[name]


def test_names_are_listed_without_importing_the_entries(registry: Registry):
    assert registry.names() == ["blue", "red"]
    assert not {name for name in sys.modules if name.startswith("palette_of_a_test.")}


def test_only_the_entry_that_is_asked_for_is_imported(registry: Registry):
    assert registry["red"].name == "red"
    assert "palette_of_a_test.blue" not in sys.modules


def test_iteration_yields_all_entries_in_the_order_of_their_names(registry: Registry):
    assert [entry.name for entry in registry] == ["blue", "red"]


def test_an_entry_may_be_added_from_elsewhere(registry: Registry):
    entry = type(registry["red"])("green")
    registry.add(entry)
    assert registry["green"] is entry
    assert registry.names() == ["blue", "green", "red"]


def test_a_module_whose_entry_has_another_name_is_refused(registry: Registry, tmp_path):
    package = tmp_path / "palette_of_a_test"
    (package / "green.py").write_text(COLOUR.format(package=package.name, name="red"), encoding="utf-8")
    with pytest.raises(UserError, match=r"green\.py adds no paint named green; its entry is named like its file\."):
        registry["green"]


def test_an_unknown_name_is_refused_and_the_message_lists_the_names(registry: Registry):
    with pytest.raises(UserError, match=r"paint=pink: expected one of blue, red\."):
        registry["pink"]
    with pytest.raises(UserError, match=r"paint=pink: expected one of blue, red\."):
        registry.require("pink")


def test_a_name_is_checked_without_importing_its_entry(registry: Registry):
    registry.require("red")
    assert not {name for name in sys.modules if name.startswith("palette_of_a_test.")}
