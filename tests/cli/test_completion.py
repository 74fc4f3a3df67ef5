"""Completion of `python -m safe_exp.…` in a shell."""

import shutil
import subprocess
import sys

import pytest

from safe_exp.cli.completion import SCRIPTS, answer_shell, complete
from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF
from safe_exp.config.data import SplitMethod
from safe_exp.system.errors import UserError
from safe_exp.train import GROUPS
from tests.commands import environment
from tests.test_house import COMMANDS


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train"])
    register_schemas()
    register_resolvers()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("model=te", ["model=text_only"]),
        ("seed=1 model=safe,te", ["model=safe,text_only"]),
        ("data.split=", [f"data.split={method.value}" for method in sorted(SplitMethod)]),
        ("data.strict=", ["data.strict=false", "data.strict=true"]),
        ("model.alpha=", ["model.alpha=0.6"]),
        ("mod", ["model.", "model="]),
        ("data=table data.columns.t", ["data.columns.text=", "data.columns.title="]),
        ("data=nix model.al", ["model.alpha="]),  # whatever stands before
        ("--config-dir con", []),  # the shell lists folders by itself
        ("data.root=ar", []),
        ("--m", ["--multirun"]),
    ],
)
def test_the_last_word_is_completed(line, words):
    assert complete("train", GROUPS, line) == words


def test_a_new_word_may_be_any_group_or_section():
    found = complete("train", GROUPS, "model=safe ")
    assert {"model=", "model.", "experiment=", "seed=", "trainer."} <= set(found)
    assert not [word for word in found if word.startswith(("base", "schema", "hydra", "baseline"))]
    options = {f"captioner={path.stem}" for path in (CONF / "captioner").glob("*.yaml")}
    assert set(complete("train", GROUPS, "captioner=")) == options


def test_options_of_one_s_own_are_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "zebra.yaml").touch()
    assert complete("train", GROUPS, "experiment=z") == ["experiment=zebra"]


def test_every_command_is_named_in_the_scripts_of_bash_and_zsh():
    for shell in ("bash", "zsh"):
        assert all(name in SCRIPTS[shell] for name in COMMANDS)


@pytest.mark.parametrize("request_", ["install=csh", "remove=bash"])
def test_another_shell_is_refused_with_those_that_there_are(request_):
    with pytest.raises(UserError, match=rf"--shell-completion {request_}: expected .* one of bash, zsh, fish"):
        answer_shell("train", GROUPS, ["--shell-completion", request_])


def ask_shell(shell, script, cwd):
    done = subprocess.run(
        [*shell, script], cwd=cwd, capture_output=True, text=True, env=environment(), timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_bash_completes_a_command_and_leaves_other_programs_alone(tmp_path):
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "texture.yaml").touch()
    script = f"""
eval "$({sys.executable} -m safe_exp.train --shell-completion install=bash)"
compopt() {{ echo "compopt $*"; }}  # else refused outside of a completion
COMP_WORDBREAKS=$' \\t\\n"=:'
ask() {{ COMP_LINE="$1"; COMP_POINT=${{#COMP_LINE}}; _safe_exp_complete; printf "%s\\n" "${{COMPREPLY[@]}}"; }}
ask "{sys.executable} -m safe_exp.train --config-dir own model=tex"
ask "{sys.executable} -m safe_exp.train model.alp"
ask "python -m safe_exp.tr"
ask "python -c x"
complete -p python3
"""
    assert ask_shell(["bash", "--norc", "-c"], script, tmp_path) == [
        "text_only",
        "texture",  # behind the =, since = breaks words in bash
        "compopt -o nospace",
        "model.alpha=",
        "safe_exp.train",
        "",
        "complete -o bashdefault -o default -F _safe_exp_complete python3",
    ]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_a_command(tmp_path):
    script = f"""
{sys.executable} -m safe_exp.train --shell-completion install=fish | source
complete -C "{sys.executable} -m safe_exp.train seed=1 model=te"
"""
    (found,) = ask_shell(["fish", "--no-config", "-c"], script, tmp_path)
    assert found.startswith("model=text_only")
