"""A stand-in for torch._dynamo, the compiler behind torch.compile, until something is compiled.

Loading torch._dynamo takes 1.6 s of processor time. Lightning imports it for the name of one class. Every optimiser
imports it for functions that act only while a model is being compiled. The stand-in has these names; the real module is
loaded as soon as another name of it, or one of its submodules, is wanted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAME = "torch._dynamo"


def put_off_dynamo() -> None:
    """Let `import torch._dynamo` find the stand-in; nothing happens where the real module is loaded already."""
    if NAME not in sys.modules:
        sys.modules[NAME] = _StandIn()
        sys.meta_path.insert(0, _Submodules())


def load_dynamo() -> ModuleType:
    """Return the real module, and put it in the place of the stand-in."""
    if isinstance(sys.modules.get(NAME), _StandIn):
        del sys.modules[NAME]
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Submodules)]
    return importlib.import_module(NAME)


class _OptimizedModuleType(type):
    """Type of a class whose instances are those of the real OptimizedModule: none before the real module is loaded."""

    def __instancecheck__(cls, instance: Any) -> bool:
        module = sys.modules[NAME]
        return not isinstance(module, _StandIn) and isinstance(instance, module.OptimizedModule)


class _StandIn(ModuleType):
    """The module torch._dynamo before it is loaded."""

    def __init__(self) -> None:
        super().__init__(NAME)
        self.__path__ = []  # a package; _Submodules finds what is in it

    class OptimizedModule(metaclass=_OptimizedModuleType):
        """Type of a model that torch.compile has returned; Lightning looks for such models."""

    @staticmethod
    def graph_break(msg: str = "") -> None:
        """Do nothing, as the real function does where nothing is being compiled."""

    @staticmethod
    def disable(fn: Callable[..., Any] | None = None, recursive: bool = True, **options: Any) -> Any:
        """Keep a function as it is, since nothing is being compiled; without `fn` return such a decorator."""
        return fn if fn is not None else lambda decorated: decorated

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # inspect asks every module for its file
            raise AttributeError(name)
        return getattr(load_dynamo(), name)


class _Submodules(MetaPathFinder, Loader):
    """Finder of the modules below torch._dynamo, which loads the real module first."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not fullname.startswith(f"{NAME}."):
            return None
        load_dynamo()
        importlib.import_module(fullname)  # most are loaded by now; a second copy must not be made
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = sys.modules[spec.name]
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
