"""Parts made by several processes at a time."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from safe_exp.data.prepared.parts import PartMaker
from safe_exp.data.reading.readers import Part
from safe_exp.system.errors import UserError
from safe_exp.system.workers import end_with_parent, without_main_script

QUEUED_PARTS = 3  # for each process; a table's rows are sent with the part, and more parts would fill the memory


def make_in_processes(maker: PartMaker, listed: Iterator[Part], processes: int, advance: Callable[[int], None]) -> None:
    """Make the listed parts, and tell `advance` the items of each in its turn.

    Raises:
        UserError: as `PartMaker.make` does, or a process was killed.
    """
    # Processes are spawned: a fork of a process that runs threads (torch's, the progress bar's) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_start_worker, initargs=(maker,)) as pool:
        running: deque[Future[int]] = deque()
        try:
            for part in listed:
                if len(running) >= QUEUED_PARTS * processes:
                    advance(running.popleft().result())  # in order: with strict=true the first fault is named
                with without_main_script():  # processes are started here, one by one
                    running.append(pool.submit(_make_in_worker, part))
            while running:
                advance(running.popleft().result())
        except BrokenProcessPool as error:
            raise UserError(
                "A process that prepares articles was killed, most often for want of memory. What is done is kept; run "
                "the command again with fewer of them, as in data.workers=1."
            ) from error
        except BaseException:  # also Ctrl-C: waiting parts are dropped, running ones are finished
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Worker:
    """A process that makes parts. Its maker is sent once: a reader's list of downloads may have 100 MB."""

    maker: PartMaker


def _start_worker(maker: PartMaker) -> None:
    end_with_parent()
    _Worker.maker = maker


def _make_in_worker(part: Part) -> int:
    return _Worker.maker.make(part)
