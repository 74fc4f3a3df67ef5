"""The typed shape of conf/: what each key may be, in which unit, and which combinations make sense.

YAML in conf/ holds the values, this file holds the types. Hydra refuses unknown names and wrong types while it composes
(in a sweep: for every job, before the first one starts); the `__post_init__` checks refuse wrong values when
`typed_config` turns the composed config into these classes, before anything is read or built.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from safe_exp.errors import UserError

PACKAGE = Path(__file__).resolve().parent
# In a wheel conf/ lies inside the package; in a checkout it stands at the top, where a researcher looks for it.
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"


class Variant(str, Enum):
    """SAFE and the four ablations of the paper."""

    safe = "safe"  # the whole model
    text_only = "text_only"  # SAFE\V: no image
    visual_only = "visual_only"  # SAFE\T: no text
    no_similarity = "no_similarity"  # SAFE\S: β = 0
    similarity_only = "similarity_only"  # SAFE\W: M_s alone decides, α = 0


class SimilarityLoss(str, Enum):
    real_only = "real_only"  # -(1-y) ln s, whose gradient is the printed Eq. (15)
    both_classes = "both_classes"  # -(1-y) ln s - y ln(1-s), as in the paper's prose and the authors' code


class Update(str, Enum):
    closed_form = "closed_form"  # Eqs. (12)-(18), vectorised over the mini-batch
    algorithm1 = "algorithm1"  # the paper's loop, article by article
    autograd = "autograd"  # the independent twin: PyTorch derives the gradients


class Order(str, Enum):
    simultaneous = "simultaneous"  # every right-hand side at the parameters before the article
    sequential = "sequential"  # assignments take effect in the printed order


class SplitMethod(str, Enum):
    random = "random"  # stratified by label
    source = "source"  # whole publishers on one side


@dataclass
class ModelConfig:
    variant: Variant = MISSING
    alpha: float = MISSING  # α, weight of the prediction loss L_p, >= 0
    beta: float = MISSING  # β, weight of the similarity loss L_s, >= 0
    gamma: float = MISSING  # γ, learning rate, > 0; each optimizer sets a default that suits it
    filter_sizes: list[int] = MISSING  # H, window widths in words; sweep: 'model.filter_sizes=[3,4],[3,4,5]'
    num_filters: int = MISSING  # K, filters for each width
    feature_dim: int = MISSING  # D, length of the feature vectors t and v
    similarity_loss: SimilarityLoss = MISSING
    update: Update = MISSING
    order: Order = MISSING  # for update=algorithm1

    def __post_init__(self) -> None:
        _require_at_least("model.alpha", self.alpha, 0)
        _require_at_least("model.beta", self.beta, 0)
        _require_positive("model.gamma", self.gamma)
        _require_at_least("model.num_filters", self.num_filters, 1)
        _require_at_least("model.feature_dim", self.feature_dim, 1)
        if not self.filter_sizes:
            raise UserError(
                "model.filter_sizes is empty; give at least one window width, as in model.filter_sizes=[3,4]."
            )
        if min(self.filter_sizes) < 1:
            raise UserError(
                f"model.filter_sizes={self.filter_sizes}: a window covers at least 1 word; every width must be >= 1."
            )
        if len(set(self.filter_sizes)) != len(self.filter_sizes):
            raise UserError(
                f"model.filter_sizes={self.filter_sizes} repeats a width; H is a set. "
                "For more filters of one width raise model.num_filters."
            )
        self._check_loss_weights()

    def _check_loss_weights(self) -> None:
        name, alpha, beta = self.variant.value, self.alpha, self.beta
        if alpha == 0 and beta == 0:
            raise UserError(
                "model.alpha and model.beta are both 0: nothing is learned. Make at least one of them positive."
            )
        if self.variant is Variant.similarity_only:
            if alpha != 0:
                raise UserError(
                    f"model.alpha={alpha}: in model=similarity_only M_s alone decides and there is no M_p to train. "
                    "Set model.alpha=0, or take model=safe."
                )
            return
        if self.variant is not Variant.safe:
            if beta != 0:
                raise UserError(
                    f"model.beta={beta}: model={name} has no similarity loss. Set model.beta=0, or take model=safe."
                )
            if alpha == 0:
                raise UserError(
                    f"model.alpha=0: model={name} learns from the prediction loss alone. Set model.alpha > 0."
                )


@dataclass
class DataConfig:
    """What every kind of data set has in common."""

    name: str = MISSING  # which reader
    root: str = MISSING  # folder of the articles; relative to where the command is started
    strict: bool = MISSING  # stop at the first unusable article instead of counting it and leaving it out
    split: SplitMethod = MISSING
    val_fraction: float = MISSING  # of all articles; the nearest 1/n of what the test split leaves
    test_fraction: float = MISSING  # of all articles; the nearest 1/n
    folds: int | None = MISSING  # k of k-fold cross-validation; null: one split by test_fraction
    fold: int = MISSING  # which of the k folds is the test split, from 0
    seed: int = MISSING  # draws the split; apart from `seed`, so that seeds are compared on the same test articles
    batch_size: int = MISSING  # articles in a mini-batch, over all processes together
    max_text_tokens: int = MISSING  # title and body; longer articles are cut
    max_visual_tokens: int = MISSING  # the sentence that describes the image; longer ones are cut
    min_frequency: int = MISSING  # a word enters the vocabulary when the training split holds it this often

    def __post_init__(self) -> None:
        for key in ("batch_size", "max_text_tokens", "max_visual_tokens", "min_frequency"):
            _require_at_least(f"data.{key}", getattr(self, key), 1)
        for key in ("val_fraction", "test_fraction"):
            if not 0 < getattr(self, key) <= 0.5:
                raise UserError(f"data.{key}={getattr(self, key)}: expected a share above 0 and at most 0.5.")
        if self.val_fraction + self.test_fraction > 0.8:
            raise UserError(
                f"data.val_fraction + data.test_fraction = {self.val_fraction + self.test_fraction:g}: "
                "at least 0.2 of the articles must be left to train on."
            )
        if self.folds is not None:
            _require_at_least("data.folds", self.folds, 2)
            if not 0 <= self.fold < self.folds:
                raise UserError(
                    f"data.fold={self.fold}: expected 0 to {self.folds - 1}, since data.folds={self.folds}."
                )
        elif self.fold != 0:
            raise UserError(f"data.fold={self.fold} has no meaning without data.folds; add e.g. data.folds=5.")


@dataclass
class SyntheticDataConfig(DataConfig):
    """The built-in data set: how many articles, and how strongly each of its two signals tells fake from real."""

    articles: int = MISSING  # half of them fake
    cue_strength: float = MISSING  # 0: cue words tell nothing; 1: they alone tell almost everything
    mismatch_strength: float = MISSING  # 0: pictures tell nothing; 1: nearly every fake's picture shows another scene

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_at_least("data.articles", self.articles, 20)
        for key in ("cue_strength", "mismatch_strength"):
            if not 0 <= getattr(self, key) <= 1:
                raise UserError(f"data.{key}={getattr(self, key)}: expected a number from 0 to 1.")


@dataclass
class CaptionerConfig:
    name: str = MISSING  # how an image becomes a sentence
    file_name: str = MISSING  # captioner=file: the sentence lies beside the article under this name


@dataclass
class VectorsConfig:
    path: str | None = MISSING  # word vectors in GloVe or word2vec text format; null: seeded random vectors
    dim: int = MISSING  # E, length of the random vectors; a file brings its own
    seed: int = MISSING  # of the vectors for words that have none

    def __post_init__(self) -> None:
        _require_at_least("vectors.dim", self.dim, 1)


@dataclass
class OptimizerConfig:
    _target_: str = MISSING  # a torch.optim class
    lr: float = MISSING  # γ; refers to model.gamma
    weight_decay: float = MISSING  # L2 penalty, >= 0

    def __post_init__(self) -> None:
        _require_at_least("optimizer.weight_decay", self.weight_decay, 0)


@dataclass
class SgdConfig(OptimizerConfig):
    momentum: float = MISSING  # 0 is the paper's update


@dataclass
class AdamConfig(OptimizerConfig):
    betas: list[float] = MISSING  # decay of the two running means


@dataclass
class ConvergenceConfig:
    tolerance: float = MISSING  # relative change of the epoch's training loss below which it counts as still
    patience: int = MISSING  # still epochs in a row that end the training; 0: never

    def __post_init__(self) -> None:
        _require_at_least("callbacks.convergence.tolerance", self.tolerance, 0)
        _require_at_least("callbacks.convergence.patience", self.patience, 0)


@dataclass
class EarlyStoppingConfig:
    patience: int = MISSING  # epochs without a better callbacks.monitor that end the training; 0: never
    min_delta: float = MISSING  # a change of the metric smaller than this is no improvement

    def __post_init__(self) -> None:
        _require_at_least("callbacks.early_stopping.patience", self.patience, 0)


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
        if self.gradient_clip_val is not None:
            _require_positive("trainer.gradient_clip_val", self.gradient_clip_val)
        if self.gradient_clip_algorithm not in (None, "norm", "value"):
            raise UserError(f"trainer.gradient_clip_algorithm={self.gradient_clip_algorithm}: expected norm or value.")


@dataclass
class TrainConfig:
    model: ModelConfig = MISSING
    data: DataConfig = MISSING
    captioner: CaptionerConfig = MISSING
    vectors: VectorsConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    scheduler: Any = None  # {_target_: …} of a torch.optim.lr_scheduler, stepped once an epoch; null: γ stays
    trainer: TrainerConfig = MISSING
    callbacks: CallbacksConfig = MISSING
    logger: LoggerConfig = MISSING
    seed: int = MISSING  # initial weights and the order of the articles
    resume: str | None = None  # a run folder whose stopped run is to be continued

    def __post_init__(self) -> None:
        _require_at_least("seed", self.seed, 0)


@dataclass
class EvaluateConfig:
    run: str = MISSING  # the run folder whose model scores the articles
    data: DataConfig = MISSING
    captioner: CaptionerConfig = MISSING
    checkpoint: str = "best"  # best or last

    def __post_init__(self) -> None:
        if self.checkpoint not in ("best", "last"):
            raise UserError(f"checkpoint={self.checkpoint}: expected best or last.")


def register_schemas() -> None:
    """Tell Hydra the shapes above; conf/*.yaml and conf/<group>/*.yaml name them in their defaults lists."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
    for group, name, node in (
        ("data", "folder_schema", DataConfig),
        ("data", "synthetic_schema", SyntheticDataConfig),
        ("optimizer", "sgd_schema", SgdConfig),
        ("optimizer", "adam_schema", AdamConfig),
    ):
        store.store(group=f"schema/{group}", name=name, node=node)


def typed_config(composed: DictConfig) -> Any:
    """The composed config as the dataclasses above, with every value checked.

    Raises:
        UserError: a value is missing, out of range, or contradicts another; the message names the key.
    """
    missing = sorted(OmegaConf.missing_keys(composed))
    if missing:
        raise UserError(f"{missing[0]} must be given, as in {missing[0]}=… on the command line.")
    return OmegaConf.to_object(composed)


def plain_config(config: Any) -> dict[str, Any]:
    """A typed config as nested dicts of plain values (enums as their names), fit for JSON, checkpoints and W&B."""
    return OmegaConf.to_container(OmegaConf.structured(config), resolve=True, enum_to_str=True)


def trainer_arguments(config: TrainerConfig) -> dict[str, Any]:
    """What goes to pytorch_lightning.Trainer: all that is set, but for clipping, which a manual update does itself."""
    ours = ("gradient_clip_val", "gradient_clip_algorithm")
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    return {name: value for name, value in values.items() if value is not None and name not in ours}


def _require_at_least(key: str, value: float, least: float) -> None:
    if not value >= least or math.isinf(value):  # `not >=` refuses NaN as well
        raise UserError(f"{key}={value}: expected a number >= {least}.")


def _require_positive(key: str, value: float) -> None:
    if not value > 0 or math.isinf(value):
        raise UserError(f"{key}={value}: expected a number > 0.")
