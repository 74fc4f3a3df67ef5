"""Lightning's Trainer, as a job needs it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from safe_exp.config import TrainConfig, Update, trainer_arguments
from safe_exp.runs.processes import require_a_task_for_each_process
from safe_exp.system.errors import UserError
from safe_exp.training.callbacks import TrainedFurther, WholeCheckpointIO, build_callbacks
from safe_exp.training.progress import progress_callbacks


def build_trainer(
    config: TrainConfig, folder: Path, loggers: list[Logger], devices: list[int] | None = None
) -> pl.Trainer:
    """Build the Trainer of a job.

    Args:
        folder: of the run.
        devices: positions of the GPUs that the job holds; None: the config decides.
    Raises:
        UserError: Lightning refuses a setting, or the update cannot be shared by so many processes.
    """
    arguments = trainer_arguments(config.trainer) | ({} if devices is None else {"devices": devices})
    with lightning_refusals(ValueError, TypeError):
        callbacks = build_callbacks(config.callbacks, folder, config.trainer.max_steps, arguments.get("max_time"))
        callbacks += progress_callbacks(config.trainer)
        if config.resume is not None:
            callbacks.append(TrainedFurther(folder))  # last, after the callbacks that may refuse to go on
        trainer = pl.Trainer(
            **arguments,
            logger=loggers or False,
            callbacks=callbacks,
            plugins=[WholeCheckpointIO()],
            default_root_dir=folder,
            use_distributed_sampler=False,  # the data module shares every batch out itself
        )
    processes = trainer.num_devices * trainer.num_nodes
    require_a_task_for_each_process(processes)
    if config.model.update is Update.algorithm1 and processes > 1:
        raise UserError(
            f"model.update=algorithm1 goes from article to article, each step at the weights that the last one left, "
            f"so {processes} processes cannot share it. Set trainer.devices=1, or model.update=closed_form."
        )
    return trainer


@contextmanager
def lightning_refusals(*more: type[Exception]) -> Iterator[None]:
    """Turn Lightning's refusal of a setting, and errors of the types `more`, into a UserError."""
    try:
        yield
    except UserError:
        raise
    except (pl.utilities.exceptions.MisconfigurationException, *more) as error:
        raise UserError(f"Lightning refuses trainer.…: {error}") from error


def quiet_libraries() -> None:
    """Silence what Lightning and its kin say of themselves, and warnings that the user can do nothing about."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torchmetrics)\..*")
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
