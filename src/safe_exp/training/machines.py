"""The wait of a job of several machines, which nothing but the user starts, for the others."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.environments import LightningEnvironment

log = logging.getLogger(__name__)

STOPS = (signal.SIGINT, signal.SIGTERM)
THIS_MACHINE = ("127.0.0.1", "localhost")


@contextmanager
def waiting_for_machines(trainer: pl.Trainer, folder: Path) -> Iterator[None]:
    """Say which machines the training in the block waits for, and let Ctrl-C and SIGTERM end the wait at once.

    PyTorch waits half an hour for the others, in code in which no signal handler of Python's runs. Until all have come,
    the signals therefore end the process as they do without handlers. SLURM and torchrun start all machines themselves,
    and there nothing is done.

    Args:
        folder: of the run.
    """
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if trainer.num_nodes == 1 or not isinstance(environment, LightningEnvironment):
        yield
        return
    before = {stop: signal.signal(stop, signal.SIG_DFL) for stop in STOPS}
    trainer.callbacks.insert(0, _Arrival(before))  # type: ignore[attr-defined]  # untyped
    log.info("%s", describe_wait(trainer.num_nodes, environment, folder))
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler)


class _Arrival(Callback):
    """Restores the signal handlers once all machines are there, which is when callbacks are set up."""

    def __init__(self, handlers: Mapping[signal.Signals, Any]) -> None:
        self.handlers = handlers

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for stop, handler in self.handlers.items():
            signal.signal(stop, handler)


def describe_wait(machines: int, environment: LightningEnvironment, folder: Path) -> str:
    """Describe what starts the other machines of a job of several."""
    address, port, number = environment.main_address, environment.main_port, environment.node_rank()
    if number:
        return f"Machine {number} of 0 to {machines - 1}: waiting for machine 0 at {address}:{port}. Ctrl-C ends it."
    if address in THIS_MACHINE:
        address = f"ADDRESS (of this machine, {socket.gethostname()}; here, too, MASTER_ADDR must be set to it)"
    others = "1" if machines == 2 else f"1 to {machines - 1}"
    return (
        f"Machine 0 of {machines}: waiting for machine {others} at port {port}. Start on each the same command with "
        f"hydra.run.dir={folder} behind it and, before it, NODE_RANK={'1' if machines == 2 else '1, 2, …'} "
        f"MASTER_PORT={port} MASTER_ADDR={address}. The folder must be the same on all. Ctrl-C ends it."
    )
