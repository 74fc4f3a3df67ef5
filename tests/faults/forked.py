"""Commands as processes that can be killed at an exact moment, forked from one that has imported torch already.

A command spends most of its few seconds on imports; here it starts in a tenth of a second.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WRITES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.chmod", "os.truncate")
PART_ARTICLES = 32  # instead of 256, so that a small data set has several parts

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.warm"])


_is_warm: list[bool] = []


@dataclass(frozen=True)
class Kill:
    """The moment at which a command kills itself by SIGKILL.

    Args:
        event: before its n-th change of the file system.
        step: before its n-th training step.
        half: a file that is about to get its final name is cut to half of its length first, as if the process had been
            killed while it wrote.
    """

    event: int | None = None
    step: int | None = None
    half: bool = True


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int  # exit status; -9 where it was killed
    printed: str
    seconds: float
    events: list[tuple[str, str]]  # its changes of files below its folder, in order: operation and path


def run(
    module: str, *arguments: str, cwd: Path, kill: Kill | None = None, kill_after: float | None = None, **limits: Any
) -> Ended:
    """Run a command in `cwd` to its end.

    Args:
        kill: see Kill.
        kill_after: seconds after which it is killed from outside.
        limits: `file_bytes`, the largest file that it may write; `watch`, False to record no events.
    """
    process = start(module, *arguments, cwd=cwd, kill=kill, **limits)
    begun = time.perf_counter()
    process.join(kill_after if kill_after is not None else 120)
    if process.is_alive():
        process.kill()
        process.join()
        assert kill_after is not None, f"{module} {arguments} takes more than two minutes"
    return ended(process, time.perf_counter() - begun)


def start(module: str, *arguments: str, cwd: Path, kill: Kill | None = None, **limits: Any) -> Any:
    """Start a command, and return it as a multiprocessing.Process."""
    _warm_up()
    logs = Path(cwd).with_name(f"{Path(cwd).name}.logs")
    logs.mkdir(exist_ok=True)
    log = logs / f"{len(list(logs.iterdir())):03d}"
    process = _context.Process(target=_command, args=(module, arguments, str(cwd), str(log), kill, limits))
    process.log = log
    process.start()
    return process


def _warm_up() -> None:
    """Start the process that all others are forked from; it finds the project by PYTHONPATH alone."""
    if _is_warm:
        return
    _is_warm.append(True)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), before]))
    try:
        forkserver.ensure_running()
        first = _context.Process(target=bool)
        first.start()  # it waits for the imports, so that no process whose time is measured has to
        first.join()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def ended(process: Any, seconds: float = 0.0) -> Ended:
    printed = process.log.read_text(encoding="utf-8", errors="replace")
    found = process.log.with_suffix(".events")
    lines = found.read_text(encoding="utf-8").splitlines() if found.exists() else []
    return Ended(process.exitcode, printed, seconds, [tuple(line.split("\t")) for line in lines])


def _command(
    module: str, arguments: Sequence[str], cwd: str, log: str, kill: Kill | None, limits: dict[str, Any]
) -> None:
    os.chdir(cwd)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", buffering=1) for number in (1, 2))
    os.environ |= {"WANDB_MODE": "disabled", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    import torch

    from safe_exp.data.reading import readers

    torch.set_num_threads(1)
    readers.PART_ARTICLES = PART_ARTICLES
    if "file_bytes" in limits:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_bytes"], limits["file_bytes"]))
    if kill is not None and kill.step is not None:
        _kill_in_step(kill.step)
    if limits.get("watch", True):
        sys.addaudithook(_Watch(Path(cwd).resolve(), Path(f"{log}.events"), kill or Kill()))
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(f"safe_exp.{module}", run_name="__main__", alter_sys=True)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


class _Watch:
    """Audit hook, called before a file is opened, renamed, made or removed: it records the event, or kills."""

    def __init__(self, folder: Path, log: Path, kill: Kill) -> None:
        self._folder, self._kill, self._count = f"{folder}{os.sep}", kill, 0
        self._log = log.open("w", encoding="utf-8", buffering=1)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, str | bytes | os.PathLike) or not (flags or 0) & (os.O_WRONLY | os.O_RDWR):
                return
        elif event not in WRITES:
            return
        paths = [os.path.join(os.getcwd(), os.fsdecode(p)) for p in arguments[:2] if isinstance(p, str | os.PathLike)]
        path = paths[-1] if event in ("os.rename", "os.link") else (paths or [""])[0]
        if not path.startswith(self._folder):
            return
        if self._count == self._kill.event:
            if event == "os.rename" and self._kill.half and os.path.isfile(paths[0]):
                with open(os.open(paths[0], os.O_WRONLY), "wb", closefd=True) as file:
                    file.truncate(os.path.getsize(paths[0]) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1
        self._log.write(f"{event}\t{path.removeprefix(self._folder)}\n")


def _kill_in_step(number: int) -> None:
    from safe_exp.training.module import SafeModule

    step, count = SafeModule.training_step, iter(range(number))

    def killing(self: SafeModule, *arguments: Any) -> Any:
        if next(count, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, *arguments)

    SafeModule.training_step = killing
