"""The config of each command, and how it becomes typed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from safe_exp.config.captioner import CaptionerConfig
from safe_exp.config.checks import require_at_least, require_threshold
from safe_exp.config.data import DataConfig, VectorsConfig
from safe_exp.config.figure_names import THRESHOLD
from safe_exp.config.model import ModelConfig, OptimizerConfig, Update
from safe_exp.config.trainer import CallbacksConfig, LoggerConfig, TrainerConfig
from safe_exp.system.errors import UserError
from safe_exp.system.versions import PACKAGE

# In a wheel conf/ lies inside the package; in a checkout it stands at the top, where a researcher looks for it.
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"


MOST_CASES = 25  # each with a thumbnail inside the page


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
    resume: str | None = None  # a run folder whose stopped run goes on to the same weights, bit for bit
    resume_sweep: str | None = None  # a sweep's folder whose unfinished jobs are to be run; see sweep/command_line.py
    threads: int | None = None  # of a processor; null: one where a step is too small for more (training/threads.py)
    threshold: Any = THRESHOLD  # a score above it is the verdict "fake"; best: the one of best macro F1 on validation
    compile: bool = False  # true: torch.compile the closed-form step, as one CUDA graph on a GPU

    def __post_init__(self) -> None:
        require_at_least("seed", self.seed, 0)
        if self.threads is not None:
            require_at_least("threads", self.threads, 1)
        require_threshold(self.threshold)
        precision = str(self.trainer.precision)
        if precision in ("16", "16-mixed") and self.model.update is not Update.autograd:
            raise UserError(
                f"trainer.precision={precision} scales the loss and expects autograd's backward pass, which "
                f"model.update={self.model.update.value} does without. Take trainer.precision=bf16-mixed, or "
                "model.update=autograd."
            )


@dataclass
class EvaluateConfig:
    run: str = MISSING  # the run folder, or a file made by export, whose model scores the articles
    data: DataConfig = MISSING
    checkpoint: str = "best"  # best or last
    threshold: Any = THRESHOLD  # a score above it is the verdict "fake"; best: the run's own, from its validation split

    def __post_init__(self) -> None:
        require_threshold(self.threshold)
        if self.checkpoint not in ("best", "last"):
            raise UserError(f"checkpoint={self.checkpoint}: expected best or last.")


@dataclass
class ExportConfig:
    run: str = MISSING  # a run folder of train
    to: str = MISSING  # the file to write, such as model.safetensors
    checkpoint: str = MISSING  # best or last

    def __post_init__(self) -> None:
        if self.checkpoint not in ("best", "last"):
            raise UserError(f"checkpoint={self.checkpoint}: expected best or last.")


@dataclass
class PrepareConfig:
    data: DataConfig = MISSING
    captioner: CaptionerConfig = MISSING


@dataclass
class ReportConfig:
    folder: str | None = MISSING  # of a multirun of train; sweep=DIR on the command line
    score: str = MISSING  # test figure that figures, bars and tests of significance are about, as in metrics.json
    cases: int = MISSING  # articles of each kind in the case study (fake and real, most and least similar); 0: none
    wandb: bool = MISSING  # also a W&B run of its own, in the sweep's group; offline without an account

    def __post_init__(self) -> None:
        if self.folder is None:
            raise UserError("sweep must be given, as in sweep=… on the command line.")
        require_at_least("cases", self.cases, 0)
        if self.cases > MOST_CASES:
            raise UserError(f"cases={self.cases}: expected at most {MOST_CASES}; the page holds four times as many.")


def typed_config(composed: DictConfig) -> Any:
    """The composed config as the dataclasses above, with every value checked.

    Raises:
        UserError: a value is missing, out of range, or contradicts another; the message names the key.
    """
    missing = sorted(OmegaConf.missing_keys(composed))
    if missing:
        raise UserError(f"{missing[0]} must be given, as in {missing[0]}=… on the command line.")
    unknown = next(_unknown_keys(composed), None)
    if unknown is not None:
        raise UserError(f"{unknown}: there is no such key, so it would change nothing. --help lists them all.")
    return OmegaConf.to_object(composed)


def _unknown_keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Keys that the shapes above do not have: Hydra lets +key=value add any."""
    known = {field.name for field in fields(OmegaConf.get_type(config))}
    for key in config:
        if key not in known:
            yield f"{prefix}{key}"
        elif is_dataclass(OmegaConf.get_type(config, key)):
            yield from _unknown_keys(config[key], f"{prefix}{key}.")


def plain_config(config: Any) -> dict[str, Any]:
    """A typed config as nested dicts of plain values (enums as their names), fit for JSON, checkpoints and W&B."""
    return {field.name: _plain(getattr(config, field.name)) for field in fields(config)}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return plain_config(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.name if isinstance(value, Enum) else value
