"""Worker processes that a command starts with multiprocessing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

Send = Callable[[Any], None]

STOP_SECONDS = 60.0  # for workers that are told to stop, before they are killed


def end_with_parent() -> None:
    """End this process when its parent has ended; an initializer for the workers of a pool.

    A parent that is killed outright cannot stop its workers: they would wait for work, and keep their memory, for ever.
    """

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class LostWorker(Exception):
    """The process of a task ended before the task did: it was killed, or told to stop."""


def run_in_workers(
    tasks: Sequence[Any],
    processes: int,
    run: Callable[[Any, Send], Any],
    ended: Callable[[int, Any], None],
    received: Callable[[int, Any], None],
    started: Callable[[int], None] = lambda _: None,
) -> None:
    """Run tasks in several processes at a time.

    A process runs one task after the other. One that ends within a task costs that task alone: another process takes
    its place. (An executor of concurrent.futures would give up all tasks.)

    After an exception here, the workers are told to stop, by SIGINT after a KeyboardInterrupt and otherwise by SIGTERM,
    and have STOP_SECONDS to end. They are process groups of their own: Ctrl-C in a terminal does not reach them twice.

    Args:
        tasks: what `run` is called with; each can be pickled.
        processes: the most at a time.
        run: called in a worker's main thread with a task and a function that sends messages here; can be pickled.
        ended: called here with the position of a task and what `run` returned, or the exception that it raised; a
            LostWorker if its process ended.
        received: called here with the position of a task and each of its messages.
        started: called here with the position of a task that is given to a worker.
    """
    workers: list[_Worker] = []
    idle: list[_Worker] = []
    waiting = list(range(len(tasks)))[::-1]

    def give(worker: _Worker) -> None:
        worker.task = waiting.pop()
        started(worker.task)
        worker.send(tasks[worker.task])

    try:
        while waiting or workers:
            while waiting and len(workers) < processes:
                workers.append(_Worker(run))
                give(workers[-1])
            for worker in _wait_for_some(workers):
                kind, content = worker.receive()
                if kind == "message":
                    received(worker.task, content)
                    continue
                ended(worker.task, content)
                if kind == "result" and waiting:
                    give(worker)
                    continue
                workers.remove(worker)
                worker.connection.close()  # it ends when it sees that
                idle.append(worker)
        for worker in idle:
            worker.process.join(STOP_SECONDS)
    except BaseException as error:
        _stop(workers, signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM, received)
        raise
    finally:
        for worker in [*workers, *idle]:
            worker.process.kill()
            worker.process.join()


class _Worker:
    """One process, and the connection to it."""

    def __init__(self, run: Callable[[Any, Send], Any]) -> None:
        # Processes are spawned: a fork of a process that runs threads (torch's, the progress bar's) can hang.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, run))
        with _ctrl_c_held_back():
            self.process.start()
        theirs.close()
        self.task = -1  # position of the one that it runs

    def send(self, task: Any) -> None:
        """Send a task; if the process has just been killed, `receive` tells."""
        with suppress(OSError):
            self.connection.send(task)

    def receive(self) -> tuple[str, Any]:
        """Receive a message or the result of the task; ("lost", LostWorker) if the process has ended."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
            return "lost", LostWorker(f"The process of this job {how}.")
        except Exception as error:  # an exception whose own constructor refuses what was pickled of it
            return "result", RuntimeError(f"The result could not be read: {error}")


def _wait_for_some(workers: Sequence[_Worker], seconds: float | None = None) -> list[_Worker]:
    """Wait until some workers have something to be received, and return them."""
    by_connection = {worker.connection: worker for worker in workers}
    return [by_connection[connection] for connection in wait(list(by_connection), seconds)]  # type: ignore[index]


def _work(connection: Connection, run: Callable[[Any, Send], Any]) -> None:
    """Run the tasks that come, until the connection is closed or this process is told to stop."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    end_with_parent()
    sending = threading.Lock()  # several threads may log

    def send(kind: str, content: Any) -> None:
        with sending:
            connection.send((kind, content))

    with suppress(KeyboardInterrupt, EOFError, OSError):  # told to stop, or there is no more work
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # one that was held back comes now
        while True:
            task = connection.recv()
            try:
                result = run(task, lambda message: send("message", message))
            except Exception as error:
                result = error
            try:
                send("result", result)
            except OSError:
                raise
            except Exception as error:  # it cannot be pickled
                send("result", RuntimeError(f"{type(result).__name__} could not be sent: {error}"))


def _stop(workers: list[_Worker], how: signal.Signals, received: Callable[[int, Any], None]) -> None:
    """Tell workers to stop, and take their messages until they have ended or STOP_SECONDS are over.

    A second Ctrl-C is passed on too, and cuts the time to a tenth. The list keeps those that still run.
    """
    seconds = STOP_SECONDS
    for _ in range(2):
        for worker in workers:
            if worker.process.is_alive():
                os.kill(worker.process.pid, how)  # type: ignore[arg-type]  # a process that has started has one
        try:
            _receive_until_ended(workers, time.monotonic() + seconds, received)
            return
        except KeyboardInterrupt:
            seconds, how = STOP_SECONDS / 10, signal.SIGINT


def _receive_until_ended(workers: list[_Worker], deadline: float, received: Callable[[int, Any], None]) -> None:
    """Drop workers from the list as they end, until `deadline`; a worker blocks while nobody takes its messages."""
    while workers and (left := deadline - time.monotonic()) > 0:
        for worker in _wait_for_some(workers, left):
            kind, content = worker.receive()
            if kind == "message":
                received(worker.task, content)
                continue
            worker.connection.close()
            worker.process.join(max(0, deadline - time.monotonic()))
            if not worker.process.is_alive():
                workers.remove(worker)


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Hold Ctrl-C back while a process starts, which inherits that: Python's start would print a traceback."""
    resource_tracker.ensure_running()  # its start would let Ctrl-C through again
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def without_main_script() -> Iterator[None]:
    """Keep processes that are spawned within the block from running the program's main script again.

    multiprocessing runs it in each of them, under another name. A script without `if __name__ == "__main__":` would
    then start its work anew in every worker, which is refused there, and the pool would wait for ever. The workers here
    need nothing of the script: what they run and receive lies in modules.
    """
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    try:
        main.__spec__ = None
        if "__file__" in kept:
            del main.__file__
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)
