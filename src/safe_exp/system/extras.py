"""Packages that an option needs, and that an extra of safe-exp brings."""

from __future__ import annotations

from importlib.util import find_spec

from safe_exp.system.errors import UserError


def require_extra(option: str, package: str, extra: str, otherwise: str) -> None:
    """Refuse an option whose package is not installed; the package is not imported.

    Args:
        option: as on the command line, such as data.words=jieba.
        package: name of its module.
        extra: what `pip install "safe-exp[…]"` takes.
        otherwise: what can be done without it, as a sentence.
    Raises:
        UserError: it is not installed; the message has the command that installs it.
    """
    if find_spec(package) is None:
        raise UserError(
            f"{option} needs the package {package}, which is not installed: "
            f'pip install "safe-exp[{extra}]". {otherwise}'
        )
