"""The output of jobs in processes of their own."""

import subprocess
import sys

from tests.commands import environment

PROGRAM = """
import pathlib, subprocess, sys
from safe_exp.sweep.launching import output_to

print("before")
try:
    with output_to(pathlib.Path("logs", "output.log")):
        print("within")
        print("a warning", file=sys.stderr)
        subprocess.run([sys.executable, "-c", "print('of a child')"], check=True)
        raise ValueError
except ValueError:
    print("after")
"""


def test_what_a_job_and_its_children_print_goes_to_its_file_and_nothing_else_does(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=environment(PYTHONUNBUFFERED=""),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "before\nafter\n", "")
    lines = (tmp_path / "logs" / "output.log").read_text().splitlines()
    assert sorted(lines) == ["a warning", "of a child", "within"]
