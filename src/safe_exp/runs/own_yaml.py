"""The user's own YAML: folders beside conf/ that the config of a command is read from too."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.config_store import ConfigStore

from safe_exp.config import CONF
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path
from safe_exp.system.yaml_files import read_yaml

FLAGS = ("--config-dir", "-cd")
# Hydra notes with a run which folders its config was read from, and the provider of each.
FLAG_PROVIDER = "command-line"  # Hydra's name for --config-dir
LOCAL_PROVIDER = "safe_exp.working_folder"
_GIVEN: ContextVar[Sequence[str] | None] = ContextVar("arguments of a command that Python composes", default=None)


class OwnFolder(NamedTuple):
    """A folder of the user's YAML."""

    provider: str  # FLAG_PROVIDER or LOCAL_PROVIDER
    path: Path  # absolute


def command_line() -> Sequence[str]:
    """Return the arguments of the command: those of this process, or those that `as_command_line` has for a block."""
    given = _GIVEN.get()
    return sys.argv[1:] if given is None else given


@contextmanager
def as_command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Take these arguments for the command's within the block; the program around it has arguments of its own."""
    token = _GIVEN.set(arguments)
    try:
        yield
    finally:
        _GIVEN.reset(token)


def own_folders(arguments: Sequence[str]) -> list[OwnFolder]:
    """List the folders of the user's YAML: that of --config-dir, and conf/ in the working folder.

    With resume=DIR they are those that the run was started with; where that conf/ is gone, it is the working folder's.

    Args:
        arguments: of the command line.
    Raises:
        UserError: the folder of --config-dir does not exist.
    """
    flag, local = config_dir(arguments), Path("conf")
    if flag is not None and not Path(flag).is_dir():
        raise UserError(f"--config-dir {flag}: there is no such folder. Give one that holds YAML files.")
    resumed = [argument.partition("=")[2].strip("'\"") for argument in arguments if argument.startswith("resume=")]
    if resumed:
        hydra = read_yaml(Path(resumed[-1]).expanduser() / ".hydra" / "hydra.yaml").get("hydra")
        if flag is None:
            flag = recorded_config_dir(hydra, f"resume={resumed[-1]}: the run")
        local = next((f.path for f in _recorded(hydra) if f.provider == LOCAL_PROVIDER and f.path.is_dir()), local)
    found = [OwnFolder(FLAG_PROVIDER, Path(flag).absolute())] if flag else []
    found += [OwnFolder(LOCAL_PROVIDER, local.absolute())] if local.is_dir() else []
    different = {os.path.realpath(folder.path): folder for folder in reversed(found)}  # conf/ may be given as the flag
    different.pop(os.path.realpath(CONF), None)  # in a checkout
    return list(reversed(different.values()))


def config_dir(arguments: Sequence[str]) -> str | None:
    """Find the folder of --config-dir among the arguments, of several the last one, as Hydra does; None without."""
    found = None
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in FLAGS and (equals or number + 1 < len(arguments)):
            found = value if equals else arguments[number + 1]
    return found


def split_config_dir(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the arguments into --config-dir with its folder, and the rest."""
    flags: list[str] = []
    others: list[str] = []
    left = iter(arguments)
    for argument in left:
        if argument in FLAGS:
            flags += [argument, *([value] if (value := next(left, None)) is not None else [])]
        else:
            (flags if argument.partition("=")[0] in FLAGS else others).append(argument)
    return flags, others


def recorded_config_dir(hydra: Any, started: str) -> str | None:
    """Return the folder of --config-dir that a run or a sweep was started with; None if there was none.

    Args:
        hydra: Hydra's notes about the start.
        started: begins the message, such as "resume=DIR: the run".
    Raises:
        UserError: the folder is gone.
    """
    folder = next((f.path for f in _recorded(hydra) if f.provider == FLAG_PROVIDER), None)
    if folder is not None and not folder.is_dir():
        raise UserError(
            f"{started} was started with --config-dir {folder}, and there is no such folder any more. Give the folder "
            "that holds the same YAML files now, with --config-dir."
        )
    return None if folder is None else str(folder)


def _recorded(hydra: Any) -> Iterator[OwnFolder]:
    """Read the user's folders from Hydra's notes; from notes of another shape none."""
    runtime = hydra.get("runtime") if isinstance(hydra, Mapping) else None
    sources = runtime.get("config_sources") if isinstance(runtime, Mapping) else None
    for source in sources if isinstance(sources, list) else []:
        if isinstance(source, Mapping) and source.get("provider") in (FLAG_PROVIDER, LOCAL_PROVIDER):
            yield OwnFolder(source["provider"], Path(str(source.get("path"))))


def require_new_names(folders: Sequence[OwnFolder]) -> None:
    """Refuse a file of the user's that has the name of another one, since only one of the two would be read.

    A copy of the same content is let through: it changes nothing.

    Raises:
        UserError: there is such a file; the message names the first one.
    """
    taken = {path.relative_to(CONF).as_posix(): path for path in sorted(CONF.rglob("*.yaml"))}
    taken |= dict.fromkeys(_schemas(ConfigStore.instance().repo))
    for number, folder in enumerate(folders):
        for other in folders[:number]:
            taken |= {path.relative_to(other.path).as_posix(): path for path in other.path.rglob("*.yaml")}
        clashes = [name for name, path in taken.items() if _is_another(folder.path / name, path)]
        if clashes:
            own, read = folder.path / clashes[0], taken[clashes[0]]
            more = f" ({len(clashes)} such files)" if len(clashes) > 1 else ""
            instead = "a type of safe_exp" if read is None else str(short_path(read))
            raise UserError(
                f"{short_path(own)}: {instead} has the same name, and only one of them would be read{more}. Give yours "
                f"another name, such as my_{own.name}, or start the command in another folder."
            )


def _schemas(store: Mapping[str, Any], group: str = "") -> Iterator[str]:
    """Yield the names of all configs in Hydra's store, as paths."""
    for name, content in store.items():
        if isinstance(content, Mapping):
            yield from _schemas(content, f"{group}{name}/")
        else:
            yield f"{group}{name}"


def _is_another(own: Path, taken: Path | None) -> bool:
    """Tell whether `own` exists and differs from the file whose name it has; from a type, None, it always differs."""
    return own.is_file() and (taken is None or own.read_bytes() != taken.read_bytes())
