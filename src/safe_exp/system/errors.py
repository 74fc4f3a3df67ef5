"""Errors that a user sees as one message instead of a traceback."""

from pathlib import Path

from hydra.errors import CompactHydraException

MOST_CHARACTERS = 300  # of another library's line that one of our messages quotes


class UserError(CompactHydraException, ValueError):
    """Input from the user that cannot be used; the message says where, what was expected and what to do.

    Hydra prints a CompactHydraException as its bare message and exits with code 1, in a single run and in a sweep.
    """


class UnwritableFile(UserError, OSError):
    """A file that cannot be written: the disk is full, or the folder is read-only. Also an OSError, with its errno."""

    def __init__(self, errno: int, strerror: str, filename: str | Path) -> None:
        OSError.__init__(self, errno, strerror, str(filename))  # ValueError's would keep the message alone

    def __str__(self) -> str:
        return (
            f"{self.filename}: cannot be written ({self.strerror}). Free some space or make the folder writable, and "
            "give the command again; what was written before is whole and is kept."
        )


def first_line(error: BaseException) -> str:
    """Return the first MOST_CHARACTERS of an error's first line, or its class name if it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:MOST_CHARACTERS]
