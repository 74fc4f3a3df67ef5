"""Commands in README.md, CONTRIBUTING.md and docs/: each is run, or the page says why not.

By default each is composed as Hydra would and its config is checked, job by job; the slow tests run them, in the order
of their page, in a folder of their own, on few articles.
"""

import csv
import re
import shlex
import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

import tests.commands
from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.predict import take_article
from safe_exp.report import with_folder
from safe_exp.training.checks import check_config
from tests.docs.pages import TOP, commands, python_blocks

ALL = commands()
ANSWERED = ("--help", "--shell-completion")  # commands with these flags compose nothing, or only part of a config
OURS = [
    command
    for command in ALL
    if command.text.startswith("python -m safe_exp.")
    and command.mark != "run by"
    and not any(flag in command.words for flag in ANSWERED)
]
RUN = [command for command in ALL if not command.mark]
FEW = 2  # values of each swept key that are run
SMALL = {  # arguments that make a command take seconds
    "train": ["data.batch_size=16", "trainer.max_epochs=2", "model.num_filters=4", "model.feature_dim=4", "logger=csv"],
    "report": ["cases=1"],
}
FEW_ARTICLES = "data.articles=120"  # for commands on the built-in articles


def test_commands_are_found():
    assert {"README.md", "index.md", "tutorial.md", "extending.md"} <= {command.page for command in ALL}
    assert len(RUN) > 10


@pytest.mark.parametrize("command", [c for c in ALL if c.mark], ids=lambda c: c.text[:60])
def test_a_command_that_is_not_run_has_a_reason(command):
    if command.mark == "run by":
        assert (TOP / command.reason).is_file()
    else:
        assert len(command.reason.split()) >= 3


@pytest.mark.parametrize("command", RUN, ids=lambda c: c.text[:60])
def test_a_command_without_a_reason_can_be_run_by_the_slow_test(command):
    assert command.words[0] in ("python", "cp"), f"{command.text}: mark it with <!-- not run: reason -->"


@pytest.mark.parametrize("command", OURS, ids=lambda c: f"{c.page}: {c.text[14:70]}")
def test_each_value_of_a_command_has_a_valid_config(command):
    register_schemas()
    register_resolvers()
    name, *arguments = shlex.split(command.text)[2:]
    name = name.removeprefix("safe_exp.")
    overrides = [argument for argument in arguments if not argument.startswith("-")]
    if name == "report":
        overrides = with_folder(overrides)
    if name == "predict":
        _, overrides = take_article(overrides)
    parsed = OverridesParser.create().parse_overrides(overrides)
    varied = [
        list(o.sweep_string_iterator()) if o.is_sweep_override() else [o.get_value_element_as_str()] for o in parsed
    ]
    # So many jobs that each value of each key stands in one; tests of sweeps compose every combination.
    jobs = [[values[i % len(values)] for values in varied] for i in range(max(map(len, varied), default=1))]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for values in jobs:
            job = [f"{o.input_line.partition('=')[0]}={value}" for o, value in zip(parsed, values, strict=True)]
            composed = compose(name, overrides=[o for o in job if not o.startswith("hydra")])
            config = typed_config(composed)
            if name == "train":
                check_config(config)


def test_the_python_on_the_pages_prints_the_values_in_its_comments(capsys):
    blocks = python_blocks("docs/paper-to-code.md")
    assert blocks
    for block in blocks:
        exec(block, {})
        expected = [line.partition("  # ")[2] for line in block.splitlines() if line.startswith("print(")]
        assert capsys.readouterr().out.split() == expected


def folder_of_pages(tmp_path: Path) -> None:
    """Make the files that the pages call PATH, articles.csv, glove.840B.300d.txt, and a run."""
    run(tmp_path, "prepare", "data.articles=120")
    made = next((tmp_path / "data" / "synthetic").iterdir())
    shutil.copytree(made, tmp_path / "PATH")
    words = ["the", "a", "in", "red", "boat", "house", "was", "seen", "of", "and"]
    vectors = "".join(
        f"{word} {' '.join(str((i * j % 7) / 7) for j in range(1, 9))}\n" for i, word in enumerate(words, 1)
    )
    for name in ("glove.840B.300d.txt", "glove.twitter.27B.25d.txt"):
        (tmp_path / name).write_text(vectors, encoding="utf-8")
    with open(tmp_path / "articles.csv", "w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle)
        rows.writerow(["id", "title", "text", "verdict", "caption"])
        for number in range(60):
            verdict = ("false", "true")[number % 2]
            rows.writerow(
                [number, f"title {number}", f"text {number * 7 % 11} {verdict}", verdict, f"a boat {number % 5}"]
            )


def run(cwd: Path, command: str, *arguments: str, fresh: bool = False) -> None:
    done = tests.commands.run(command, *arguments, cwd=cwd, timeout=300, fresh=fresh)
    assert done.returncode == 0, f"{command} {' '.join(arguments)}\n{done.stderr[-3000:]}"


def few(argument: str) -> str:
    """Keep the first values of a swept key."""
    parsed = OverridesParser.create().parse_overrides([argument])[0]
    if not parsed.is_sweep_override():
        return argument
    return f"{argument.partition('=')[0]}={','.join(list(parsed.sweep_string_iterator())[:FEW])}"


def made(folder: Path, pattern: str, which: int) -> str:
    """Find the folder that the page's commands made first (0) or last (-1)."""
    return sorted(folder.glob(pattern))[which].parent.relative_to(folder).as_posix()


def as_run_here(command: str, folder: Path) -> list[str]:
    """Adapt a command to few articles; a dated run becomes the page's first, a dated sweep its last."""
    name, *arguments = shlex.split(command)[2:]
    name = name.removeprefix("safe_exp.")
    if "--help" in arguments:
        return [name, *arguments]
    if "-m" in arguments:
        arguments = [argument if argument == "-m" else few(argument) for argument in arguments]
    arguments = [a for a in arguments if a != "hydra/launcher=submitit_slurm"]  # there is no cluster here
    arguments = [re.sub(r"outputs/2\S+", lambda _: made(folder, "outputs/*/*/checkpoints", 0), a) for a in arguments]
    arguments = [
        re.sub(r"multirun/2\S+", lambda _: made(folder, "multirun/*/*/multirun.yaml", -1), a) for a in arguments
    ]
    if any(argument.startswith("resume=") for argument in arguments):
        return [name, *arguments, "trainer.max_epochs=3"]  # the run has ended, so it needs further epochs to go on
    if name != "report" and not any(argument.startswith(("data=", "experiment=", "run=")) for argument in arguments):
        arguments = [*(a for a in arguments if not a.startswith("data.articles=")), FEW_ARTICLES]
    return [name, *arguments, *SMALL.get(name, [])]


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({command.page for command in RUN}))
def test_the_commands_of_a_page_run_in_its_order(page, tmp_path):
    folder_of_pages(tmp_path)
    begun = set()  # modules of the README that have run in a process that begins with Python itself
    for command in (command for command in RUN if command.page == page):
        if command.words[0] == "cp":
            made = next((tmp_path / "data" / "synthetic").iterdir())  # fewer articles, so under another name
            shutil.copytree(made, tmp_path / command.words[-1])
        else:
            name, *arguments = as_run_here(command.text, tmp_path)
            run(tmp_path, name, *arguments, fresh=page == "README.md" and name not in begun)
            begun.add(name)
