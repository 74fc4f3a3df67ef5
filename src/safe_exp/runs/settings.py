"""Whether conf/ still gives the values that a run or a sweep was started with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from safe_exp.system.errors import UserError
from safe_exp.system.nested import flat

GONE = object()


def require_same_settings(
    where: str, what: str, then: Mapping[str, Any], now: Mapping[str, Any], given: Collection[str] = ()
) -> None:
    """Refuse to go on where conf/ has changed a value since the start.

    A key that the stored settings do not know came with a later version of the program, whose default for it does what
    the program did then; so it is no difference.

    Args:
        where: what the message begins with.
        what: run or sweep.
        then, now: nested settings, unresolved, as they were stored and as conf/ gives them.
        given: keys, dotted, that the command line has changed on purpose.
    """
    # Hydra's own settings differ between two commands that train the same.
    old, new = (flat({key: value for key, value in each.items() if key != "hydra"}) for each in (then, now))
    changed = sorted(key for key in old if key not in given and new.get(key, GONE) != old[key])
    if changed:
        key = changed[0]
        raise UserError(
            f"{where}: the {what} started with {key}={old[key]}, and conf/ now gives {new.get(key)} "
            f"({len(changed)} such difference{'s' * (len(changed) > 1)}). Bring conf/ back, or start another {what}."
        )
