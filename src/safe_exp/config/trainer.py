"""conf/trainer, conf/callbacks, conf/logger: how long to train, on what, and what to record."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

from safe_exp.config.checks import require_at_least, require_positive
from safe_exp.system.errors import UserError


@dataclass
class ConvergenceConfig:
    tolerance: float = MISSING  # relative change of the epoch's training loss below which it counts as still
    patience: int = MISSING  # still epochs in a row that end the training; 0: never

    def __post_init__(self) -> None:
        require_at_least("callbacks.convergence.tolerance", self.tolerance, 0)
        require_at_least("callbacks.convergence.patience", self.patience, 0)


@dataclass
class EarlyStoppingConfig:
    patience: int = MISSING  # epochs without a better callbacks.monitor that end the training; 0: never
    min_delta: float = MISSING  # a change of the metric smaller than this is no improvement

    def __post_init__(self) -> None:
        require_at_least("callbacks.early_stopping.patience", self.patience, 0)


@dataclass
class CallbacksConfig:
    monitor: str = MISSING  # validation metric that picks best.ckpt, and that a sweep compares
    mode: str = MISSING  # min or max: which side of the metric is better
    convergence: ConvergenceConfig = MISSING
    early_stopping: EarlyStoppingConfig = MISSING

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise UserError(f"callbacks.mode={self.mode}: expected min or max.")
        if not self.monitor.startswith("val/"):
            raise UserError(
                f"callbacks.monitor={self.monitor}: expected a validation metric like val/auroc; "
                "picking a checkpoint on another split would make its figures worthless."
            )


@dataclass
class LoggerConfig:
    csv: bool = MISSING  # every logged value in logs/
    wandb: bool = MISSING  # a W&B run: live with an account, else offline; WANDB_MODE=disabled turns it off
    project: str = MISSING  # W&B project
    more: dict[str, Any] = field(default_factory=dict)  # further loggers of safe_exp.runs.loggers: {name: its settings}

    def __post_init__(self) -> None:
        for name, settings in self.more.items():
            if not isinstance(settings, Mapping):
                raise UserError(
                    f"logger.more.{name}={settings}: expected the logger's settings; {{}} where it needs none."
                )

    @property
    def chosen(self) -> dict[str, Mapping[str, Any]]:
        """The settings of each logger by its name."""
        own = {"csv": {}} if self.csv else {}
        own |= {"wandb": {"project": self.project}} if self.wandb else {}
        return own | self.more


@dataclass
class TrainerConfig:
    """Every argument of pytorch_lightning.Trainer that is the user's to set; null leaves it to Lightning."""

    accelerator: str = MISSING
    strategy: str = MISSING
    devices: Any = MISSING
    num_nodes: int | None = None
    precision: Any = None
    fast_dev_run: Any = None
    max_epochs: int | None = None
    min_epochs: int | None = None
    max_steps: int | None = None
    min_steps: int | None = None
    max_time: Any = None
    limit_train_batches: Any = None
    limit_val_batches: Any = None
    limit_test_batches: Any = None
    limit_predict_batches: Any = None
    overfit_batches: Any = None
    val_check_interval: Any = None
    check_val_every_n_epoch: int | None = None
    num_sanity_val_steps: int | None = None
    log_every_n_steps: int | None = None
    enable_checkpointing: bool | None = None
    enable_progress_bar: bool | None = None
    enable_model_summary: bool | None = None
    accumulate_grad_batches: int | None = None  # 1; see below
    gradient_clip_val: float | None = None  # largest norm (or value) of the gradient, in every model.update
    gradient_clip_algorithm: str | None = None  # norm or value
    deterministic: Any = None
    benchmark: bool | None = None
    inference_mode: bool | None = None
    profiler: str | None = None
    detect_anomaly: bool | None = None
    barebones: bool | None = None
    sync_batchnorm: bool | None = None
    reload_dataloaders_every_n_epochs: int | None = None
    enable_autolog_hparams: bool | None = None
    model_registry: str | None = None

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
        if self.max_steps not in (None, -1) and (self.min_epochs or self.min_steps):
            raise UserError(
                f"trainer.max_steps={self.max_steps} beside trainer.min_epochs or trainer.min_steps: the two may "
                "contradict. Leave one of them out."
            )
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
    """What goes to pytorch_lightning.Trainer: all that is set, but for what we do ourselves.

    That is clipping, which the Trainer refuses beside a manual update, and max_steps (see StepLimit).
    """
    ours = ("gradient_clip_val", "gradient_clip_algorithm", "max_steps")
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    arguments = {name: value for name, value in values.items() if value is not None and name not in ours}
    return {"max_epochs": -1} | arguments  # without a limit Lightning would take 1000
