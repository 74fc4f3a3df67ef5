"""Objects of one kind by name: each lies in a module of its own, named like it, and registers itself there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from safe_exp.system.errors import UserError


class Named(Protocol):
    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=Named)


class Registry(Generic[Entry]):
    """The variants, captioners, readers or loggers that there are.

    An entry `colours` stands in `<package>/colours.py`, which is imported when the entry is first asked for. Further
    modules, anywhere, may add entries when they are imported.

    Args:
        kind: what messages call an entry, as on the command line: `captioner`, `model.variant`.
        package: dotted name of the package whose modules hold one entry each.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> Entry:
        """Make an entry known; a second one of the same name takes the place of the first."""
        self._entries[entry.name] = entry
        return entry

    def names(self) -> list[str]:
        """All names, sorted; nothing is imported but the package itself."""
        path = importlib.import_module(self.package).__path__
        modules = {module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_")}
        return sorted(modules | self._entries.keys())

    def require(self, name: str) -> None:
        """Refuse a name without an entry, importing none.

        Raises:
            UserError: the message lists the names that there are.
        """
        if name not in self.names():
            raise UserError(f"{self.kind}={name}: expected one of {', '.join(self.names())}.")

    def __getitem__(self, name: str) -> Entry:
        """The entry of that name.

        Raises:
            UserError: there is none, and the message lists those that there are; or its module adds another name.
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
        return (self[name] for name in self.names())
