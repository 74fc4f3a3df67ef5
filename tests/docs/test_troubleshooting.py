"""The messages that the documentation explains are in the code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
QUOTED = re.findall(r"^> (.+)$", (TOP / "docs" / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)


@cache
def texts_of_the_code() -> str:
    """Join all strings of src/: adjacent pieces are one string, and values that are filled in are left out."""
    texts = []
    for path in sorted((TOP / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                constants = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
                texts.append("".join(constants))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n\n".join(texts)


def test_messages_are_found_on_the_page():
    assert len(QUOTED) > 20


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_is_in_the_code(message):
    assert message in texts_of_the_code()
