"""The one kind of error that a user sees as a message instead of a traceback."""

from pathlib import Path

from hydra.errors import CompactHydraException


class UserError(CompactHydraException, ValueError):
    """Something the user gave cannot be used; the message says where, what was expected and what to do.

    Hydra prints a CompactHydraException as its bare message and exits with code 1, in a single run and in a sweep.
    """


class UnwritableFile(UserError, OSError):
    """A file cannot be written: the disk is full, or the folder may only be read. An OSError too, with its errno."""

    def __init__(self, errno: int, strerror: str, filename: str | Path) -> None:
        OSError.__init__(self, errno, strerror, str(filename))  # not ValueError's, which would keep the words alone

    def __str__(self) -> str:
        return (
            f"{self.filename}: cannot be written ({self.strerror}). Free some space or make the folder writable, and "
            "give the command again; what was written before is whole and is kept."
        )
