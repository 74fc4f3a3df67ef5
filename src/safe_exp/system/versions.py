"""The code that runs: versions of the packages, and the checkout's commit."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
DISTRIBUTIONS = ("torch", "pytorch-lightning", "hydra-core", "torchmetrics")
GIT_TIMEOUT_SECONDS = 5


def running_code() -> dict[str, Any]:
    """What the code is that runs: versions of the packages, and the checkout's commit."""
    return {"versions": installed_versions(), "git_commit": git_commit(PACKAGE.parents[1])}


def git_commit(checkout: Path) -> str | None:
    """The commit of `checkout`, with "+changes" when its code or configs differ from it.

    None when there is no checkout (an installed wheel), no git, or no answer in time; never an error.
    """
    # Without this test git would climb from a wheel's site-packages to whatever project the environment lies in.
    if not (checkout / ".git").exists():
        return None
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        changes = _git(checkout, "status", "--porcelain", "--", "src", "conf")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+changes" if changes else commit


def _git(checkout: Path, *arguments: str) -> str:
    # GIT_DIR and its kin, set while a hook runs, would point git at another repository. The lock is for git's own
    # bookkeeping; a sweep's jobs would fight over it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(checkout), *arguments],
        capture_output=True,
        check=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=GIT_TIMEOUT_SECONDS,
    )
    return done.stdout.strip()


def installed_versions() -> dict[str, str | None]:
    """Versions from the packages' metadata: importing torch to ask it would cost seconds."""
    return {
        "safe_exp": _installed_version("safe-exp"),
        "python": platform.python_version(),
        **{name: _installed_version(name) for name in DISTRIBUTIONS},
    }


def _installed_version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
