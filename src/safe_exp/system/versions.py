"""Versions of the running code: those of the packages, and the commit of the checkout."""

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
    """Return the versions of the packages and the commit of the checkout, for status.json."""
    return {"versions": installed_versions(), "git_commit": git_commit(PACKAGE.parents[1])}


def git_commit(checkout: Path) -> str | None:
    """Return the commit of `checkout`, with "+changes" if src/ or conf/ differ from it.

    None if there is no checkout (an installed wheel), no git, or no answer within GIT_TIMEOUT_SECONDS. Raises nothing.
    """
    # Without this test git would search the folders above a wheel's site-packages, and find an unrelated project.
    if not (checkout / ".git").exists():
        return None
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        changes = _git(checkout, "status", "--porcelain", "--", "src", "conf")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+changes" if changes else commit


def _git(checkout: Path, *arguments: str) -> str:
    # GIT_DIR and similar variables, which git sets while a hook runs, would point to another repository. The optional
    # lock lets git refresh its index; the jobs of a sweep would wait for each other's.
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
    """Read the versions from the packages' metadata; importing torch for its version would take seconds."""
    return {
        "safe_exp": installed_version("safe-exp"),
        "python": platform.python_version(),
        **{name: installed_version(name) for name in DISTRIBUTIONS},
    }


def installed_version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
