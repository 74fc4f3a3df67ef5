"""The one kind of error that a user sees as a message instead of a traceback."""

from hydra.errors import CompactHydraException


class UserError(CompactHydraException, ValueError):
    """Something the user gave cannot be used; the message says where, what was expected and what to do.

    Hydra prints a CompactHydraException as its bare message and exits with code 1, in a single run and in a sweep.
    """
