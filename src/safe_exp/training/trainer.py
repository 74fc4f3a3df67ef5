"""Lightning's Trainer with the settings and callbacks of a job."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from safe_exp.config import TrainConfig, TrainerConfig, Update, trainer_arguments
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.runs.processes import require_a_task_for_each_process
from safe_exp.system.errors import UserError
from safe_exp.training.callbacks import TrainedFurther, WholeCheckpointIO, build_callbacks, build_refit_callbacks
from safe_exp.training.progress import progress_callbacks

PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}  # values of profiler


def build_trainer(
    config: TrainConfig,
    folder: Path,
    loggers: Sequence[Logger],
    devices: list[int] | None = None,
    extra: Sequence[Callback] = (),
) -> pl.Trainer:
    """Build the Trainer of a job.

    Args:
        folder: of the run.
        loggers: open ones; they are closed by the caller.
        devices: indices of the GPUs that the job has leased; None: trainer.devices decides.
        extra: the user's own callbacks, from `build_extra_callbacks`.
    Raises:
        UserError: Lightning refuses a setting, SLURM has started another number of processes, or several processes
            would have to share model.update=algorithm1.
    """
    arguments = trainer_arguments(config.trainer)
    with lightning_refusals(ValueError, TypeError):
        callbacks = build_callbacks(
            config.callbacks, folder, config.trainer.max_steps, arguments.get("max_time"), extra
        )
        callbacks += progress_callbacks(config.trainer)
        if config.resume is not None:
            callbacks.append(TrainedFurther(folder))  # last, after the callbacks that may refuse to go on
        trainer = _build(arguments, callbacks, folder, loggers, devices, foreign=bool(extra))
    # Lightning's loggers go by it, and would guess it from the environment.
    rank_zero_only.rank = trainer.global_rank  # type: ignore[attr-defined]  # untyped
    processes = trainer.num_devices * trainer.num_nodes
    require_a_task_for_each_process(processes)
    if config.model.update is Update.algorithm1 and processes > 1:
        raise UserError(
            "model.update=algorithm1 takes a step after each article, from the weights that the step before it left, "
            f"so {processes} processes cannot share it. Set trainer.devices=1, or model.update=closed_form."
        )
    return trainer


def build_refit_trainer(
    config: TrainConfig, folder: Path, epochs: int, averages: bool, checkpoint: str, devices: list[int] | None = None
) -> pl.Trainer:
    """Build the Trainer of a refit, which trains a number of epochs, and neither validates nor logs.

    The user's own callbacks have no part in it: most of them need a validation or a logger.

    Args:
        epochs: number of them.
        averages: average the weights of the epochs.
        checkpoint: name of the file in `folder`/checkpoints from which it is resumed, without `.ckpt`.
        devices: as in `build_trainer`.
    """
    limits = ("max_epochs", "min_epochs", "min_steps")
    arguments = {name: value for name, value in trainer_arguments(config.trainer).items() if name not in limits}
    callbacks = [*build_refit_callbacks(folder, averages, checkpoint), *progress_callbacks(config.trainer, "Refit: ")]
    if config.resume is not None:
        callbacks.append(TrainedFurther(folder))
    with lightning_refusals(ValueError, TypeError):
        return _build({**arguments, "max_epochs": epochs, "num_sanity_val_steps": 0}, callbacks, folder, [], devices)


def _build(
    arguments: dict[str, Any],
    callbacks: list[Callback],
    folder: Path,
    loggers: Sequence[Logger],
    devices: list[int] | None,
    foreign: bool = False,
) -> pl.Trainer:
    profiler = arguments.get("profiler")
    if profiler in PROFILERS:  # Lightning's own would log the profile, and its log is silenced
        arguments = arguments | {"profiler": PROFILERS[profiler](dirpath=folder / "profile", filename=profiler)}
    return pl.Trainer(
        # `deterministic_algorithms` sets it: Lightning would load PyTorch's compiler for it.
        **arguments | {"deterministic": None} | ({} if devices is None else {"devices": devices}),
        logger=loggers or False,
        callbacks=callbacks,
        plugins=[WholeCheckpointIO(foreign)],
        default_root_dir=folder,
        use_distributed_sampler=False,  # the data module distributes each batch itself
    )


def require_some_batches(trainer: TrainerConfig, data: FakeNewsNetDataModule) -> None:
    """Refuse a share of a split's batches that is less than one batch; Lightning would do so after the training.

    Args:
        data: after `setup`.
    Raises:
        UserError: it is less; the message has the number of batches.
    """
    for name, loader in (
        ("train", data.train_dataloader),
        ("val", data.val_dataloader),
        ("test", data.test_dataloader),
    ):
        limit, batches = getattr(trainer, f"limit_{name}_batches"), len(loader())
        if isinstance(limit, float) and int(limit * batches) == 0:
            raise UserError(
                f"trainer.limit_{name}_batches={limit}: {limit:g} of {batches} batch{'es' * (batches > 1)} is none. "
                f"Take a larger share, or a number of batches, as in trainer.limit_{name}_batches=1."
            )


@contextmanager
def lightning_refusals(*more: type[Exception]) -> Iterator[None]:
    """Turn Lightning's refusal of a setting into a UserError.

    Args:
        more: further types of errors that count as a refusal.
    Raises:
        UserError: the block has raised one of these errors; the message holds Lightning's own.
    """
    refusals: tuple[type[Exception], ...] = (MisconfigurationException, *more)
    try:
        yield
    except UserError:
        raise
    except refusals as error:
        raise UserError(f"Lightning refuses trainer.…: {error}") from error


def quiet_libraries() -> None:
    """Silence Lightning's own log lines, and warnings of libraries that the user cannot act on."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torchmetrics)\..*")
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
