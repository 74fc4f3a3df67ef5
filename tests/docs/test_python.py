"""The Python of docs/python.md prints what its comments say, block after block."""

import re
from importlib.util import find_spec

import pytest

from tests.docs.pages import python_blocks

PRINTED = re.compile(r"^print\(.*\)  # (.+)$", re.MULTILINE)


@pytest.mark.slow
def test_the_python_on_the_page_prints_the_values_in_its_comments(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    blocks = python_blocks("docs/python.md")
    if not all(map(find_spec, ("onnxruntime", "onnxscript"))):  # extra: onnx
        blocks = [block for block in blocks if "onnx" not in block]
    assert len(blocks) > 3
    names: dict = {}
    for block in blocks:
        exec(block, names)
        assert capsys.readouterr().out.splitlines() == PRINTED.findall(block)
