"""The commands of docs/training-options.md run as printed, in this process, on few articles."""

import re
import shlex
import sys

import pytest

from tests.commands import read_json
from tests.docs.pages import TOP, commands
from tests.sweep.stacked.jobs import compose_small, train_alone

PAGE = (TOP / "docs" / "training-options.md").read_text(encoding="utf-8")
FILES = re.compile(r'^```(?:python|yaml) title="([^"]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)
HERE = "tests/docs/test_training_options.py"
COMMANDS = [command.text for command in commands() if command.page == "training-options.md" and command.reason == HERE]


def test_the_page_has_commands_and_files():
    assert len(COMMANDS) > 15
    assert len(FILES.findall(PAGE)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[25:75])
def test_a_command_of_the_page_trains_a_model(command, tmp_path, monkeypatch):
    for name, content in FILES.findall(PAGE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    python, *arguments = shlex.split(command)
    assert (python, arguments[:2]) == ("python", ["-m", "safe_exp.train"])
    overrides = [
        f"hydra.searchpath=[file://{tmp_path / argument.partition('=')[2]}]"
        if argument.startswith("--config-dir=")
        else argument
        for argument in arguments[2:]
    ]
    train_alone(compose_small(*overrides), tmp_path / "run", monkeypatch)
    sys.modules.pop("my_callbacks", None)
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert metrics["epochs"] == (1 if "debug=fdr" in command else 2)
    if "LossLog" in command:
        assert [line.split()[0] for line in (tmp_path / "losses.txt").read_text().splitlines()] == ["0", "1"]
    if "ModelCheckpoint" in command:
        assert len(list((tmp_path / "run" / "checkpoints" / "top").iterdir())) == 2
    if "profiler" in command:
        assert (tmp_path / "run" / "profile" / "fit-simple.txt").stat().st_size > 0
