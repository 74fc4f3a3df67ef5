"""The one kind of error that a user sees as a message instead of a traceback, and other errors in one line of it."""

from pathlib import Path

from hydra.errors import CompactHydraException

MOST_CHARACTERS = 300  # of a line that stands within a message of ours


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


def first_line(error: BaseException) -> str:
    """The first line of another library's message, at most MOST_CHARACTERS of it; the error's name if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:MOST_CHARACTERS]
