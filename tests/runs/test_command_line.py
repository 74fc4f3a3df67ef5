"""Commands as a shell takes them."""

import shlex
import sys

from safe_exp.runs.command_line import command_line, command_module, resume_command


def test_the_command_of_this_process_is_quoted_for_a_shell(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/safe_exp/train.py", "data.root='my articles'", "seed=1"])
    assert command_module() == "safe_exp.train"
    assert shlex.split(command_line()) == [
        sys.executable, "-m", "safe_exp.train", "data.root='my articles'", "seed=1"
    ]  # fmt: skip


def test_a_folder_with_a_blank_is_quoted_in_the_command_that_resumes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["python", "-m", "safe_exp.train", "resume=my runs/1"]
    assert shlex.split(resume_command(tmp_path / "my runs" / "1")) == command
