"""The audit of the installed packages fails on a known hole, and passes with a message where it cannot ask."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).resolve().parents[1] / ".ci" / "audit"
SKIPPED = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.13.0+cpu)"}
WHOLE = {"name": "rich", "version": "15.0", "vulns": []}
HOLE = {"name": "pillow", "version": "9.0", "vulns": [{"id": "CVE-1", "fix_versions": ["9.1", "10"], "aliases": []}]}


@pytest.mark.skipif(not AUDIT.exists(), reason="not part of the source distribution")
@pytest.mark.parametrize(
    ("answer", "error", "code", "said"),
    [
        ([WHOLE, SKIPPED], "", 0, "Audited 1 of 2 packages: 0 known vulnerabilities."),
        ([WHOLE, HOLE], "", 1, "pillow 9.0: CVE-1 (fixed in 9.1, 10)"),
        ([SKIPPED, SKIPPED], "", 0, "could not be reached: audit skipped (Dependency not found"),
        (None, "requests.exceptions.ConnectionError: Max retries exceeded", 0, "could not be reached: audit skipped"),
        (None, "ModuleNotFoundError: No module named 'pip_audit'", 1, "pip-audit ended without an answer: ModuleNot"),
    ],
)
def test_the_audit_passes_fails_or_says_that_it_could_not_ask(answer, error, code, said, tmp_path):
    printed = "" if answer is None else json.dumps({"dependencies": answer, "fixes": []})
    # In the place of pip-audit, one that answers without a network.
    (tmp_path / "pip_audit.py").write_text(
        f"import sys\nsys.stdout.write({printed!r})\nsys.stderr.write({error!r})\nsys.exit({int(answer is None)})\n"
    )
    done = subprocess.run(
        [sys.executable, AUDIT], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done
