"""The command of this process, and the one that resumes a run, as a shell takes them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from safe_exp.system.files import short_path


def command_line() -> str:
    """Return the command that started this process."""
    return shlex.join([sys.executable, "-m", command_module(), *sys.argv[1:]])


def command_module() -> str:
    """Return the module that this process runs, such as safe_exp.train."""
    module = Path(sys.argv[0])
    return f"{module.parent.name}.{module.stem}"


def resume_command(folder: Path) -> str:
    """Return the command that resumes the run in `folder`."""
    return f"python -m safe_exp.train resume={shlex.quote(str(short_path(folder)))}"
