"""A callable that a user names: imported, made with its arguments, and known by the content of its files."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safe_exp.data.pretrained import hash_files
from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UserError, first_line

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


class CallableSource:
    """Vectors of patches by a callable, which takes a list of pictures and returns an array.

    Args:
        target: dotted name of a function, or of a class whose instances are called.
        arguments: of the class, or of each call of the function.
    Raises:
        UserError: the name leads to no callable, or to one without a source file.
    """

    def __init__(self, target: str, arguments: Mapping[str, Any]) -> None:
        self._target, self._arguments = target, dict(arguments)
        self._found = _import(target)
        contents = {name: _content(value) for name, value in self._arguments.items()}
        self.digest = json_digest([_hash_source(target, self._found), contents])
        self._call: Callable[[list[Image.Image]], Any] | None = None

    def describe(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        """Compute the vectors (rows, columns, E) float32 of each picture's patches.

        Raises:
            UserError: the callable fails, or returns something else.
        """
        import numpy as np

        try:
            found = np.asarray(self._make()(list(images)), dtype=np.float32)
        except Exception as error:  # whatever a user's own code raises
            raise UserError(
                f"captioner._target_={self._target} failed for {len(images)} pictures "
                f"({type(error).__name__}: {first_line(error)})."
            ) from error
        return list(_lay_out(found, len(images), self._target))

    def view(self, image: Image.Image) -> Image.Image:
        """Return the whole picture, over which the patches are laid."""
        return image

    def _make(self) -> Callable[[list[Image.Image]], Any]:
        if self._call is None:
            found, arguments = self._found, self._arguments
            if inspect.isclass(found):
                self._call = cast("Callable[[list[Image.Image]], Any]", found(**arguments))
            else:
                self._call = lambda images: found(images, **arguments)
        return self._call


def _lay_out(found: np.ndarray, pictures: int, target: str) -> np.ndarray:
    """Lay out vectors (N, P, E) as a square grid, if they do not come as one: (N, rows, columns, E).

    Raises:
        UserError: the shape is another one, or a number is not finite.
    """
    import numpy as np

    if found.ndim == 3 and round(found.shape[1] ** 0.5) ** 2 == found.shape[1]:
        found = found.reshape(len(found), *[round(found.shape[1] ** 0.5)] * 2, -1)
    if found.ndim != 4 or len(found) != pictures or 0 in found.shape:
        raise UserError(
            f"captioner._target_={target} returned an array {found.shape} for {pictures} pictures. Expected "
            f"({pictures}, P, E), vectors of E numbers of P patches, row by row of a square grid, or "
            f"({pictures}, rows, columns, E) of any grid."
        )
    if not np.isfinite(found).all():
        raise UserError(f"captioner._target_={target} returned numbers that are not finite.")
    return found


def _import(target: str) -> Any:
    """Import the object of a dotted name.

    Raises:
        UserError: there is none, or it cannot be called.
    """
    from hydra.utils import get_object

    try:
        found = get_object(target)
    except Exception as error:  # whatever the imported module raises
        raise UserError(
            f"captioner._target_={target}: there is no such callable ({first_line(error)}). Expected the dotted name "
            "of a function or class that Python can import from here, as in my_module.describe for my_module.py in "
            "the folder where the command is started."
        ) from error
    if not callable(found):
        raise UserError(f"captioner._target_={target} is a {type(found).__name__}, which cannot be called.")
    return found


def _hash_source(target: str, found: Any) -> str:
    """Compute the digest of the files that define a callable: of the module that is named, and where it comes from.

    Raises:
        UserError: it has no source file.
    """
    parts = target.split(".")
    names = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    named = next((sys.modules[name] for name in names if name in sys.modules), None)
    home = inspect.getmodule(found) or inspect.getmodule(type(found))
    files = {str(file) for module in (named, home) if (file := getattr(module, "__file__", None))}
    sources = sorted({hashed for file in files if (hashed := _hash_file(Path(file)))})
    if not sources:
        raise UserError(
            f"captioner._target_={target} has no source file, by which a later command could tell that it is the same. "
            "Define it in a Python file."
        )
    return json_digest(sources)


def _content(value: Any) -> Any:
    """Replace the path of a file or folder by the digest of its content."""
    path = Path(value).expanduser() if isinstance(value, str) and value else None
    try:
        if path is None or not path.exists():
            return value
    except OSError:  # a text that is too long for a path
        return value
    if path.is_file():
        return _hash_file(path)
    return [[str(file.relative_to(path)), _hash_file(file)] for file in sorted(path.rglob("*")) if file.is_file()]


def _hash_file(path: Path) -> str:
    path = path.resolve()
    return json_digest([path.stat().st_size, hash_files(path.parent, [path.name])])
