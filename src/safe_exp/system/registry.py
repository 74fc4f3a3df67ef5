"""Registries of objects by name. Each object is defined in a module of its own name, which registers it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from safe_exp.system.errors import UserError


class Named(Protocol):
    """An object with a name."""

    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=Named)


class Registry(Generic[Entry]):
    """All variants, captioners, kinds of data sets or loggers, by name.

    The entry `colours` is defined in `<package>/colours.py`, which is imported when the entry is first needed. Any
    other module may add entries when it is imported.

    Args:
        kind: the name of an entry's kind in messages, as on the command line: `captioner`, `model.variant`.
        package: dotted name of the package whose modules hold one entry each.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> Entry:
        """Register an entry and return it; it replaces an earlier one of the same name."""
        self._entries[entry.name] = entry
        return entry

    def names(self) -> list[str]:
        """List all names, sorted. Only the package itself is imported, none of its modules."""
        path = importlib.import_module(self.package).__path__
        modules = {module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_")}
        return sorted(modules | self._entries.keys())

    def require(self, name: str) -> None:
        """Refuse a name without an entry; no module is imported.

        Raises:
            UserError: there is no such entry; the message lists the names.
        """
        if name not in self.names():
            raise UserError(f"{self.kind}={name}: expected one of {', '.join(self.names())}.")

    def __getitem__(self, name: str) -> Entry:
        """Return the entry of that name, importing its module first.

        Raises:
            UserError: there is no such entry (the message lists the names), or its module adds none of its own name.
        """
        if name not in self._entries:
            self.require(name)
            module = importlib.import_module(f"{self.package}.{name}")
            if name not in self._entries:
                raise UserError(
                    f"{module.__file__} adds no {self.kind} named {name}; its entry is named like its file."
                )
        return self._entries[name]

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over all entries in the order of their names; every module is imported."""
        return (self[name] for name in self.names())
