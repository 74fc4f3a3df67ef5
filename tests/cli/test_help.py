"""--help: every key with its value and its meaning."""

import ast
import io
import subprocess
import sys
import tokenize
from contextlib import suppress

import pytest

from safe_exp.cli.help import print_help
from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF
from safe_exp.data.captioners import patches
from safe_exp.system.versions import PACKAGE
from tests.commands import environment

GROUPS = ["model", "data", "captioner", "optimizer", "scheduler", "experiment"]


@pytest.fixture
def shown(capsys, monkeypatch):
    """A function that returns the help for some arguments, and what is on standard error."""
    monkeypatch.setenv("COLUMNS", "100")
    register_schemas()
    register_resolvers()

    def show(*arguments, command="train"):
        with suppress(SystemExit):
            print_help(command, "Train.", GROUPS, ["--help", *arguments])
        return capsys.readouterr()

    return show


def field_comments(path, name):
    """Read the comment in the line of each field of a class, by Python's own parser and tokenizer."""
    text = path.read_text(encoding="utf-8")
    comments = {t.start[0]: t.string for t in tokenize.generate_tokens(io.StringIO(text).readline)
                if t.type == tokenize.COMMENT}  # fmt: skip
    (kind,) = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == name)
    fields = [node for node in kind.body if isinstance(node, ast.AnnAssign) and node.lineno in comments]
    return {field.target.id: comments[field.lineno].lstrip("# ") for field in fields}


@pytest.mark.parametrize(
    ("overrides", "section", "path", "kind"),
    [
        ([], "model.", PACKAGE / "config" / "model.py", "ModelConfig"),
        ([], "data.", PACKAGE / "config" / "data.py", "DataConfig"),
        (["captioner=patches", "captioner.model=m"], "captioner.", patches.__file__, "PatchesConfig"),
        ([], "", PACKAGE / "config" / "commands.py", "TrainConfig"),
    ],
)
def test_every_key_is_shown_with_the_comment_behind_its_field(overrides, section, path, kind, shown):
    comments = field_comments(PACKAGE.joinpath(path), kind)
    page = shown(*overrides).out
    found = [name for name in comments if f"\n  {section}{name}=" in page]
    assert len(found) > 6
    for name in found:
        entry = page.partition(f"\n  {section}{name}=")[2].partition("\n  " + (section or "r"))[0]
        assert comments[name] in " ".join(entry.split()), name


def test_the_values_are_those_of_the_command_line(shown):
    page = shown("model.alpha=0.9", "data=table", "data.root=t.csv").out
    assert "\n  model.alpha=0.9  " in page
    assert "\ndata=table\n" in page
    assert "\n  data.columns.text=text  " in page
    assert "a torch.optim.lr_scheduler" in page  # of a group whose option is none


def test_no_line_is_wider_than_the_terminal_and_at_most_100_columns(shown, monkeypatch):
    for columns, widest in (("400", 100), ("100", 100), ("80", 80)):
        monkeypatch.setenv("COLUMNS", columns)
        lines = shown("scheduler=step").out.splitlines()
        assert max(len(line) for line in lines if "=" not in line.split()[0:1] and "--" not in line) <= widest
        assert len(lines) > 100


def test_a_key_without_a_field_of_its_own_is_explained_by_the_comment_in_its_yaml(shown):
    assert "\n  scheduler.step_size=" in shown("scheduler=step").out
    comment = (
        (CONF / "scheduler" / "step.yaml").read_text(encoding="utf-8").partition("step_size:")[2].partition("#")[2]
    )
    assert comment.partition("\n")[0].strip()[:40] in shown("scheduler=step").out


def test_one_key_is_explained_with_its_choices(shown):
    said = shown("model.update").out
    assert said.startswith("  model.update=closed_form  ")
    assert "autograd: gradients by PyTorch's autograd" in " ".join(said.split())
    assert "model.alpha" not in said


def test_a_group_is_explained_with_its_options_and_keys(shown):
    said = shown("model=text_only", "model").out
    assert said.startswith("model=… is one of these; now it is text_only\n")
    assert "  no_similarity  " in said
    assert "  model.alpha=1" in said
    assert "\n  data." not in said
    assert "GossipCop" in shown("experiment").out


def test_an_unknown_name_is_told_with_the_one_that_may_be_meant(shown):
    assert shown("alpha").err == "alpha: there is no such key. Did you mean model.alpha? --help lists them all.\n"


def test_options_of_one_s_own_are_shown_with_their_comments(shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "scheduler").mkdir(parents=True)
    (tmp_path / "conf" / "scheduler" / "mine.yaml").write_text(
        "# Falls by a tenth.\n_target_: torch.optim.lr_scheduler.ExponentialLR\ngamma: 0.9  # factor of each epoch\n"
    )
    assert "mine                Falls by a tenth." in shown("scheduler").out
    assert "scheduler.gamma=0.9               factor of each epoch" in shown("scheduler=mine").out
    assert "mine," in shown().out


def test_the_reader_of_the_help_may_leave_early():
    command = f"set -o pipefail; {sys.executable} -m safe_exp.prepare --help captioner | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "captioner=… is one of these; now it is file\n"
