"""Small disks that fill up, and read-only folders; both need root and a kernel that lets it mount."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system in memory; skip the test where none can be mounted."""
    folder.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def resize(folder: Path, size: str) -> None:
    _mount("-o", f"remount,size={size}", str(folder))


def make_read_only(folder: Path) -> None:
    """Mount a disk read-only. Permissions would not do: tests often run as root, whom they do not bind."""
    _mount("-o", "remount,ro", str(folder))


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode != 0:
        assert "permitted" in done.stderr or "superuser" in done.stderr or "denied" in done.stderr, done.stderr
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
