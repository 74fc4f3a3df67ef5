"""Types of the config of each command, and the conversion of a composed config to them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, cast

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from safe_exp.config.captioner import CaptionerConfig, StoredCaptioner
from safe_exp.config.checks import require_at_least, require_seed
from safe_exp.config.data import AnyVectorsConfig, DataConfig, StoredVectors
from safe_exp.config.figure_names import DISPLAY_NAMES, SCORER_SUFFIXES, is_known_score
from safe_exp.config.model import AnyOptimizerConfig, ModelConfig, Update
from safe_exp.config.threshold import THRESHOLD, require_threshold
from safe_exp.config.trainer import CallbacksConfig, LoggerConfig, TrainerConfig
from safe_exp.system.errors import UserError, first_line
from safe_exp.system.nested import flat
from safe_exp.system.versions import PACKAGE

# A wheel has conf/ inside the package; a checkout has it at the top, where a researcher looks for it.
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"

AUTO = "auto"
MANY_KEYS = 4  # keys of one section without a value: no option of ours leaves so many to the command line
MOST_CASES = 25  # articles of each kind in a report; each has a thumbnail inside the page


@dataclass
class ExtrasConfig:
    """Help around a run, which changes nothing in it."""

    print_config: bool = False  # true: print the resolved config as YAML before the run


@dataclass
class TrainConfig:
    """Keys of `python -m safe_exp.train`."""

    model: ModelConfig = MISSING
    data: DataConfig = MISSING
    captioner: CaptionerConfig = MISSING
    vectors: AnyVectorsConfig = MISSING
    optimizer: Any = MISSING  # an option of conf/optimizer, or any optimizer as {_target_: …, lr: …, further arguments}
    scheduler: Any = None  # a torch.optim.lr_scheduler as {_target_: …, interval: epoch or step}; null: constant γ
    trainer: TrainerConfig = MISSING
    callbacks: CallbacksConfig = MISSING
    logger: LoggerConfig = MISSING
    seed: int = MISSING  # seed of the initial weights and of the order of the articles, >= 0
    resume: str | None = None  # folder of a stopped run, which is continued to the same weights, bit for bit
    resume_sweep: str | None = None  # folder of a sweep, whose unfinished jobs are run (with -m)
    threads: int | None = None  # CPU threads of PyTorch, >= 1; null: one if a step is too small to gain from more
    threshold: Any = THRESHOLD  # scores above it are called fake; 0 to 1, or best: highest macro F1 on validation
    figures: Any = AUTO  # draw a run at its end: auto (a single run, but no job of a sweep), true or false
    compile: bool = False  # true: compile the closed-form step with torch.compile; on a GPU, as one CUDA graph
    refit: Any = False  # train once more, on more articles: false; true: train and val; all: train, val and test
    refit_from: str | None = None  # for refit: folder of a sweep over folds that gives the epochs and the calibration
    extras: ExtrasConfig = field(default_factory=ExtrasConfig)

    def __post_init__(self) -> None:
        if not is_dataclass(self.optimizer):  # of no class of ours
            self.optimizer = AnyOptimizerConfig.read(self.optimizer or {})
        require_seed("seed", self.seed)
        if self.threads is not None:
            require_at_least("threads", self.threads, 1)
        require_threshold(self.threshold)
        if self.figures not in (AUTO, True, False):
            raise UserError(f"figures={self.figures}: expected auto (no job of a sweep is drawn), true or false.")
        precision = str(self.trainer.precision)
        if precision in ("16", "16-mixed") and self.model.update is not Update.autograd:
            raise UserError(
                f"trainer.precision={precision} scales the loss and expects autograd's backward pass, which "
                f"model.update={self.model.update.value} does without. Take trainer.precision=bf16-mixed, or "
                "model.update=autograd."
            )
        self._check_refit()

    def _check_refit(self) -> None:
        if self.refit not in (False, True, "all"):
            raise UserError(f"refit={self.refit}: expected false, true or all.")
        if not self.refit:
            if self.refit_from is not None:
                raise UserError(f"refit_from={self.refit_from} needs refit=true or refit=all beside it.")
            return
        if self.refit_from is not None and self.callbacks.extra:
            raise UserError(
                f"callbacks.extra.{next(iter(self.callbacks.extra))} beside refit_from: a refit runs without callbacks "
                "of yours, since it neither validates nor logs. Leave one of the two out."
            )
        for name in ("max_steps", "max_time", "fast_dev_run"):
            if getattr(self.trainer, name) not in (None, False, -1):
                raise UserError(
                    f"trainer.{name}={getattr(self.trainer, name)} beside refit: a refit repeats whole epochs. Leave "
                    "one of the two out."
                )
        if self.scheduler is not None and "Plateau" in str(self.scheduler.get("_target_")):
            raise UserError(
                f"scheduler._target_={self.scheduler['_target_']} beside refit: it goes by validation, whose articles "
                "are trained on in a refit. Take another scheduler."
            )


@dataclass
class EvaluateConfig:
    """Keys of `python -m safe_exp.evaluate`."""

    run: str = MISSING  # folder of a finished run or of a sweep (its jobs as one model), or a file made by export
    data: DataConfig = MISSING
    checkpoint: str = "best"  # checkpoint to score with: best (on validation) or last
    threshold: Any = THRESHOLD  # scores above it are called fake; 0 to 1, or best: the run's, from its validation split
    captioner: StoredCaptioner = field(default_factory=StoredCaptioner)
    vectors: StoredVectors = field(default_factory=StoredVectors)

    def __post_init__(self) -> None:
        require_threshold(self.threshold)
        if self.checkpoint not in ("best", "last"):
            raise UserError(f"checkpoint={self.checkpoint}: expected best or last.")


@dataclass
class ExportConfig:
    """Keys of `python -m safe_exp.export`."""

    run: str = MISSING  # folder of a finished run, or of a sweep (its jobs as one model)
    to: str = MISSING  # file to write, such as model.safetensors or model.onnx
    checkpoint: str = MISSING  # checkpoint to export: best (on validation) or last
    format: str | None = None  # bundle (all of the run) or onnx (its network); null: onnx where `to` ends in .onnx

    def __post_init__(self) -> None:
        if self.checkpoint not in ("best", "last"):
            raise UserError(f"checkpoint={self.checkpoint}: expected best or last.")
        if self.format not in (None, "bundle", "onnx"):
            raise UserError(f"format={self.format}: expected bundle or onnx.")

    @property
    def is_onnx(self) -> bool:
        """True if an ONNX file is to be written."""
        return self.format == "onnx" or (self.format is None and self.to.casefold().endswith(".onnx"))


@dataclass
class PrepareConfig:
    """Keys of `python -m safe_exp.prepare`."""

    data: DataConfig = MISSING
    captioner: CaptionerConfig = MISSING
    vectors: AnyVectorsConfig = field(default_factory=AnyVectorsConfig)


@dataclass
class ReportConfig:
    """Keys of `python -m safe_exp.report`."""

    folder: str | None = MISSING  # folder of a sweep of train; on the command line sweep=DIR
    score: str = MISSING  # test score that is drawn and tested for significance, by its name in metrics.json
    cases: int = MISSING  # articles of each of four kinds (fake or real, most or least similar), 0 to 25; 0: none
    wandb: bool = MISSING  # true: also log a W&B run, in the sweep's group; offline without an account
    baselines: str | None = None  # folder of a sweep of safe_exp.baseline on the same articles, shown beside the jobs
    run: str | None = None  # folder of one run of train in place of a sweep: its page is DIR/report.html

    def __post_init__(self) -> None:
        if (self.folder is None) == (self.run is None):
            raise UserError("Give sweep=DIR, the folder of a sweep, or run=DIR, the folder of one run.")
        if self.run is not None and (self.wandb or self.baselines is not None):
            key = "wandb" if self.wandb else "baselines"
            raise UserError(f"{key} belongs to the report of a sweep, sweep=DIR. Leave it out beside run={self.run}.")
        require_at_least("cases", self.cases, 0)
        if self.cases > MOST_CASES:
            raise UserError(f"cases={self.cases}: expected at most {MOST_CASES}; the page holds four times as many.")


@dataclass
class DashboardConfig:
    """Keys of `python -m safe_exp.dashboard`."""

    project: str = MISSING  # W&B project whose runs are shown
    entity: str | None = MISSING  # W&B user or team that owns it; null: the account's own
    score: str = MISSING  # score that is shown, by its name in metrics.json: auroc, f1_macro, similarity_auroc, …
    print: bool = MISSING  # true: print the definition as JSON, and send nothing
    to: str | None = MISSING  # file to write the definition to as JSON, instead of sending it; null: none

    def __post_init__(self) -> None:
        if not is_known_score(self.score):  # W&B would draw empty charts
            raise UserError(
                f"score={self.score}: runs log no such figure. There are {', '.join(DISPLAY_NAMES)}, and these with "
                f"{', '.join(SCORER_SUFFIXES)} before them."
            )


def typed_config(composed: DictConfig) -> Any:
    """Convert a composed config to its dataclass, such as TrainConfig, and check every value.

    Raises:
        UserError: a key is missing or unknown, a reference leads nowhere, or a value is out of range or contradicts
            another; the message names it.
    """
    plain = cast("dict[str, Any]", OmegaConf.to_container(composed))
    # Not OmegaConf.missing_keys, which resolves ${…} and breaks off where that leads to a missing key.
    missing = sorted(key for key, value in flat(plain).items() if value == MISSING)
    if missing:
        section = missing[0].partition(".")[0]
        number = sum(key.startswith(f"{section}.") for key in missing)
        if number >= MANY_KEYS:
            raise UserError(
                f"{number} keys of {section} have no value, such as {missing[0]}. In a YAML file of your own begin the "
                f"defaults with an option of {section} that has them all."
            )
        raise UserError(f"{missing[0]} must be given, as in {missing[0]}=… on the command line.")
    unknown = next(_unknown_keys(composed), None)
    if unknown is not None:
        raise UserError(f"{unknown}: there is no such key, so it would change nothing. --help lists them all.")
    try:
        return OmegaConf.to_object(composed)
    except InterpolationResolutionError as error:  # a reference in the user's YAML or on the command line
        raise UserError(f"{error.full_key}: its reference cannot be followed ({first_line(error)}).") from error


def _unknown_keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield keys that the dataclasses do not have; Hydra lets +key=value add any."""
    known = {field.name for field in fields(OmegaConf.get_type(config))}
    for key in map(str, config):
        if key not in known:
            yield f"{prefix}{key}"
        elif is_dataclass(OmegaConf.get_type(config, key)):
            yield from _unknown_keys(config[key], f"{prefix}{key}.")


def plain_config(config: Any) -> dict[str, Any]:
    """Convert a typed config to nested dicts of plain values, enums by name, for JSON, checkpoints and W&B."""
    return {name: _plain(value) for name, value in vars(config).items()}  # further arguments of an optimizer too


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return plain_config(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.name if isinstance(value, Enum) else value
