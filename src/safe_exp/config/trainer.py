"""Types of conf/trainer/, conf/callbacks/ and conf/logger/: length of a training, devices, checkpoints and logs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from omegaconf import MISSING

from safe_exp.config.checks import require_at_least, require_positive
from safe_exp.system.errors import UserError

WANDB_KEYS = ("project", "entity", "tags", "notes", "job_type", "pictures")  # of LoggerConfig, for W&B


class Select(str, Enum):
    """The weights that a run keeps in best.ckpt, and is scored with."""

    auto = "auto"  # as best, and where validation cannot choose an epoch as average
    best = "best"  # of the epoch with the best callbacks.monitor
    last = "last"  # of the last epoch
    average = "average"  # a running average over the epochs, in which later ones count more


@dataclass
class ConvergenceConfig:
    """The end of a training whose loss has stopped changing."""

    tolerance: float = MISSING  # a smaller relative change of an epoch's training loss counts as none, >= 0
    patience: int = MISSING  # unchanged epochs in a row that end the training; 0: never

    def __post_init__(self) -> None:
        require_at_least("callbacks.convergence.tolerance", self.tolerance, 0)
        require_at_least("callbacks.convergence.patience", self.patience, 0)


@dataclass
class EarlyStoppingConfig:
    """The end of a training whose validation no longer improves."""

    patience: int = MISSING  # epochs in a row without an improvement of callbacks.monitor that end it; 0: never
    min_delta: float = MISSING  # smallest change of callbacks.monitor that is an improvement

    def __post_init__(self) -> None:
        require_at_least("callbacks.early_stopping.patience", self.patience, 0)


@dataclass
class CallbacksConfig:
    """The choice of the best checkpoint, and the end of a training."""

    monitor: str = MISSING  # validation figure that picks the best epoch, and that the jobs of a sweep are compared by
    mode: str = MISSING  # better side of that figure: min or max
    convergence: ConvergenceConfig = MISSING
    early_stopping: EarlyStoppingConfig = MISSING
    select: Select = Select.best  # weights that the run keeps in best.ckpt, and is scored with
    extra: dict[str, Any] = field(default_factory=dict)  # further Lightning callbacks: {name: {_target_: …, arguments}}

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise UserError(f"callbacks.mode={self.mode}: expected min or max.")
        if not self.monitor.startswith("val/"):
            raise UserError(
                f"callbacks.monitor={self.monitor}: expected a validation metric like val/auroc; "
                "picking a checkpoint on another split would make its figures worthless."
            )
        for name, settings in self.extra.items():
            if not isinstance(settings, Mapping):
                raise UserError(
                    f"callbacks.extra.{name}={settings}: expected a class and its arguments, as in "
                    f"callbacks.extra.{name}._target_=module.Class."
                )


@dataclass
class LoggerConfig:
    """The loggers of a run."""

    csv: bool = MISSING  # true: write every logged value to logs/ as CSV; reports read the curves from these files
    wandb: bool = MISSING  # true: log to W&B, live with an account, else offline; WANDB_MODE=disabled logs nothing
    project: str = MISSING  # name of the W&B project, and of the experiment in MLflow
    entity: str | None = None  # W&B user or team that owns the project; null: the account's own
    tags: list[str] | None = None  # tags of the W&B run; null: none
    notes: str | None = None  # a longer text about the W&B run; null: none
    job_type: str | None = None  # kind of the W&B run, by which runs of a group can be divided; null: none
    pictures: bool = False  # true: log the figures to W&B as pictures, beside its own charts
    more: dict[str, Any] = field(default_factory=dict)  # further loggers as {name: settings}; _target_ names a class

    def __post_init__(self) -> None:
        for name, settings in self.more.items():
            if not isinstance(settings, Mapping):
                raise UserError(
                    f"logger.more.{name}={settings}: expected the logger's settings; {{}} where it needs none."
                )

    @property
    def chosen(self) -> dict[str, Mapping[str, Any]]:
        """Settings of each chosen logger, by its name."""
        own: dict[str, Mapping[str, Any]] = {"csv": {}} if self.csv else {}
        own |= {"wandb": {name: getattr(self, name) for name in WANDB_KEYS}} if self.wandb else {}
        return own | self.more


@dataclass
class TrainerConfig:
    """Arguments of pytorch_lightning.Trainer that a user may set; null leaves one to Lightning."""

    accelerator: str = MISSING  # hardware: cpu, gpu or auto
    strategy: str = MISSING  # way to use several devices: auto or ddp
    devices: Any = MISSING  # number of devices, or a list of their numbers
    num_nodes: int | None = None  # number of machines
    precision: Any = None  # number type: 32-true, 64-true, bf16-mixed, bf16-true; 16-mixed with model.update=autograd
    fast_dev_run: Any = None  # true, or a number of batches: run so many of each split once, as a trial
    max_epochs: int | None = None  # most epochs, >= 1; -1: no limit
    min_epochs: int | None = None  # fewest epochs, whatever would end the training earlier
    max_steps: int | None = None  # most optimizer steps, >= 1; -1: no limit
    min_steps: int | None = None  # fewest optimizer steps, whatever would end the training earlier
    max_time: Any = None  # most time, as DD:HH:MM:SS
    limit_train_batches: Any = None  # training batches of an epoch: a number or a share, not 0
    limit_val_batches: Any = None  # validation batches of an epoch: a number or a share, not 0
    limit_test_batches: Any = None  # test batches: a number or a share, not 0
    limit_predict_batches: Any = None  # no effect: no command calls Trainer.predict
    overfit_batches: Any = None  # batches that are trained on again and again: a number or a share
    val_check_interval: Any = None  # only 1.0: an epoch is validated once, at its end
    check_val_every_n_epoch: int | None = None  # only 1: every epoch is validated
    num_sanity_val_steps: int | None = None  # validation batches that are tried before the training
    log_every_n_steps: int | None = None  # steps between two logged values
    enable_checkpointing: bool | None = None  # only true: a run is scored from its checkpoints
    enable_progress_bar: bool | None = None  # true: show the progress
    enable_model_summary: bool | None = None  # true: print Lightning's summary of the network
    accumulate_grad_batches: int | None = None  # only 1: the update by hand takes one step for each mini-batch
    gradient_clip_val: float | None = None  # largest norm (or value) of a gradient, > 0; null: not clipped
    gradient_clip_algorithm: str | None = None  # gradient_clip_val limits the norm or each value: norm or value
    deterministic: Any = None  # true: only deterministic algorithms; warn: warn of others
    benchmark: bool | None = None  # true: cuDNN tries its algorithms and takes the fastest
    inference_mode: bool | None = None  # true: validate under torch.inference_mode; false: under torch.no_grad
    profiler: str | None = None  # simple, advanced or pytorch: write the time of each part to profile/ of the run
    detect_anomaly: bool | None = None  # true: autograd looks for NaN in its backward pass
    barebones: bool | None = None  # only false: a run needs its checkpoints
    sync_batchnorm: bool | None = None  # true: synchronise batch normalisation, which no network here has
    reload_dataloaders_every_n_epochs: int | None = None  # epochs after which the data loaders are made anew; 0: never
    enable_autolog_hparams: bool | None = None  # true: log the hyperparameters when the run starts
    model_registry: str | None = None  # name of the model on Lightning's model hub

    def __post_init__(self) -> None:
        if self.accumulate_grad_batches not in (None, 1):
            raise UserError(
                f"trainer.accumulate_grad_batches={self.accumulate_grad_batches}: the update by hand takes one step "
                "for each mini-batch. Raise data.batch_size instead."
            )
        self._check_that_every_epoch_is_validated_and_kept()
        if str(self.precision) == "16-true":
            raise UserError("trainer.precision=16-true: float16 is too coarse for the losses. Take bf16-true.")
        for name in ("max_epochs", "max_steps"):
            if getattr(self, name) not in (None, -1):
                require_at_least(f"trainer.{name}", getattr(self, name), 1)
        if self.max_epochs not in (None, -1) and (self.min_epochs or 0) > self.max_epochs:
            raise UserError(
                f"trainer.min_epochs={self.min_epochs}: it is more than trainer.max_epochs={self.max_epochs}. Raise "
                "trainer.max_epochs, or lower trainer.min_epochs."
            )
        if self.max_steps not in (None, -1) and (self.min_epochs or self.min_steps):
            raise UserError(
                f"trainer.max_steps={self.max_steps} beside trainer.min_epochs or trainer.min_steps: the two may "
                "contradict. Leave one of them out."
            )
        if self.deterministic not in (None, True, False, "warn"):
            raise UserError(f"trainer.deterministic={self.deterministic}: expected true, false or warn.")
        if self.gradient_clip_val is not None:
            require_positive("trainer.gradient_clip_val", self.gradient_clip_val)
        if self.gradient_clip_algorithm not in (None, "norm", "value"):
            raise UserError(f"trainer.gradient_clip_algorithm={self.gradient_clip_algorithm}: expected norm or value.")

    def _check_that_every_epoch_is_validated_and_kept(self) -> None:
        for name in ("limit_train_batches", "limit_val_batches", "limit_test_batches"):
            if getattr(self, name) == 0:
                raise UserError(
                    f"trainer.{name}=0: a run trains, picks its checkpoint by validation and scores it on the test "
                    "split; each needs articles. For a quick look take trainer.fast_dev_run=true."
                )
        for name in ("check_val_every_n_epoch", "val_check_interval"):
            if getattr(self, name) not in (None, 1):
                raise UserError(
                    f"trainer.{name}={getattr(self, name)}: every epoch is validated once, at its end, since "
                    "best.ckpt, early stopping and the plateau scheduler go by it. Leave it out."
                )
        for name, wrong in (("enable_checkpointing", False), ("barebones", True)):
            if getattr(self, name) is wrong:
                raise UserError(
                    f"trainer.{name}={str(wrong).lower()}: a run is scored from checkpoints/best.ckpt and resumed from "
                    "last.ckpt, so there must be checkpoints. Leave it out."
                )


def trainer_arguments(config: TrainerConfig) -> dict[str, Any]:
    """Collect the arguments of pytorch_lightning.Trainer that are set, without those that we carry out ourselves.

    These are clipping, which the Trainer refuses beside a manual update, and max_steps (see StepLimit).
    """
    ours = ("gradient_clip_val", "gradient_clip_algorithm", "max_steps")
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    arguments = {name: value for name, value in values.items() if value is not None and name not in ours}
    return {"max_epochs": -1} | arguments  # without a limit Lightning would take 1000
