"""The house: the rooms of src/safe_exp, the maps that describe them, and tests/, which mirrors them."""

import ast
import re
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
SRC = TOP / "src"
PACKAGE = SRC / "safe_exp"
TESTS = TOP / "tests"
COMMANDS = {"train", "evaluate", "predict", "prepare", "baseline", "report", "export", "dashboard"}

MAP_NAME = re.compile(r"(?:^|\s{2,})(\w+(?:\.py|/))(?=\s{2,}\S)", re.MULTILINE)
QUESTION = re.compile(r"(?:What|How|Who|Which|Whether|Why|When|Where)\b")

CROSS_CUTTING = {  # folders of tests/ that follow no room
    "benchmarks": "benchmarks/",
    "docs": "README.md, CONTRIBUTING.md and docs/",
    "faults": "commands that are killed, full disks, damaged files",
    "fuzz": "random input to everything that reads",
    "slurm": "sweeps on a cluster",
    "stored_runs": "runs that earlier versions made",
}
WHOLE_PROJECT = {
    "test_house.py",
    "test_doctests.py",
    "test_public.py",
    "test_no_pickle.py",
    "test_audit.py",
    "test_packaging.py",
}  # beside the commands'
NO_MODULE = {  # test files of a room that are named after no module of it
    "data/test_presets.py": "conf/data/: whole data sets in their published form, from files to batches",
    "data/reading/test_row_accounting.py": "all formats and readers, damaged in each way",
    "equations/test_edge_cases.py": "all equations, where they divide by zero or saturate",
    "training/test_overfit.py": "a whole training, in each way of computing the gradients",
}


def layers() -> set[str]:
    """Read the names below safe_exp in the contract of .importlinter: commands and rooms."""
    contracts = ConfigParser()
    contracts.read(TOP / ".importlinter", encoding="utf-8")
    names = contracts["importlinter:contract:rooms"]["layers"].replace("|", " ").split()
    return {name.removeprefix("safe_exp.") for name in names if name.startswith("safe_exp.")}


ROOMS = layers() - COMMANDS


def parts(folder: Path) -> set[str]:
    """List the modules (`name.py`) and packages (`name/`) of a folder."""
    modules = {path.name for path in folder.glob("*.py") if path.name != "__init__.py"}
    return modules | {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield place and text of each docstring of a module, class or function."""
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            if documented and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(SRC)}: {getattr(node, 'name', 'module')}", text


def test_at_the_top_lie_the_commands_and_the_rooms_of_the_import_contract():
    assert not COMMANDS - layers()
    assert len(ROOMS) > 10
    assert parts(PACKAGE) == {f"{name}.py" for name in COMMANDS} | {f"{name}/" for name in ROOMS}


def package_maps() -> dict[str, set[str]]:
    """Read the names in each `__init__` docstring that has a map, by its folder."""
    maps = {}
    for path in sorted(PACKAGE.rglob("__init__.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if names := set(MAP_NAME.findall(text)):
            maps[path.parent.relative_to(SRC).as_posix()] = names
    return maps


def test_maps_are_found():
    assert {"safe_exp", "safe_exp/data"} <= set(package_maps())


@pytest.mark.parametrize("folder", package_maps())
def test_a_package_map_names_what_lies_in_its_folder(folder):
    assert package_maps()[folder] == parts(SRC / folder)


def test_each_folder_of_tests_is_a_room_or_named_as_cross_cutting():
    folders = {path.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/*.py")}
    assert folders <= ROOMS | set(CROSS_CUTTING)


def test_each_test_at_the_top_is_of_a_command_or_of_the_whole_project():
    assert {path.name for path in TESTS.glob("test_*.py")} <= {f"test_{name}.py" for name in COMMANDS} | WHOLE_PROJECT


def test_each_test_in_a_room_names_a_module_there_or_the_room_itself():
    strangers = []
    for room in sorted(ROOMS):
        for path in sorted((TESTS / room).rglob("test_*.py")):
            name, tested = path.relative_to(TESTS).as_posix(), path.stem.removeprefix("test_")
            mirrored = PACKAGE / path.parent.relative_to(TESTS)
            there = parts(mirrored) | {f"{mirrored.name}.py"}  # the room as a whole: tests/config/test_config.py
            if not {f"{tested}.py", f"{tested}/"} & there and name not in NO_MODULE:
                strangers.append(name)
    assert not strangers


def test_exceptions_are_needed():
    for name in NO_MODULE:
        room, _, file = name.rpartition("/")
        assert (TESTS / name).is_file()
        assert file.removeprefix("test_") not in parts(PACKAGE / room)


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").read_bytes() == b""


def test_no_docstring_begins_with_a_question_word():
    assert not [place for place, text in docstrings() if QUESTION.match(text)]
