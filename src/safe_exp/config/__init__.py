"""The typed shape of conf/: what each key may be, in which unit, and which combinations make sense.

YAML in conf/ holds the values, this package holds the types; those of one captioner or one kind of data set stand
beside its code, in data/captioners/ and data/reading/readers/. Hydra refuses unknown names and wrong types while it
composes (in a sweep: for every job, before the first one starts); the `__post_init__` checks refuse wrong values when
`typed_config` turns the composed config into these classes, before anything is read or built. Checks that depend on the
variant of the model are in `safe_exp.training.checks`, the first thing that a training does.
"""

from safe_exp.config.baseline import BaselineConfig, MethodConfig, TfidfConfig
from safe_exp.config.captioner import CaptionerConfig
from safe_exp.config.commands import (
    CONF,
    EvaluateConfig,
    ExportConfig,
    PrepareConfig,
    ReportConfig,
    TrainConfig,
    plain_config,
    typed_config,
)
from safe_exp.config.data import MODALITIES, DataConfig, SplitMethod, VectorsConfig
from safe_exp.config.model import (
    AdamConfig,
    LossSettings,
    ModelConfig,
    OptimizerConfig,
    Order,
    SgdConfig,
    SimilarityLoss,
    Update,
)
from safe_exp.config.predict import PredictConfig
from safe_exp.config.trainer import (
    CallbacksConfig,
    ConvergenceConfig,
    EarlyStoppingConfig,
    LoggerConfig,
    TrainerConfig,
    trainer_arguments,
)

__all__ = [
    "CONF",
    "MODALITIES",
    "AdamConfig",
    "BaselineConfig",
    "CallbacksConfig",
    "CaptionerConfig",
    "ConvergenceConfig",
    "DataConfig",
    "EarlyStoppingConfig",
    "EvaluateConfig",
    "ExportConfig",
    "LoggerConfig",
    "LossSettings",
    "MethodConfig",
    "ModelConfig",
    "OptimizerConfig",
    "Order",
    "PredictConfig",
    "PrepareConfig",
    "ReportConfig",
    "SgdConfig",
    "SimilarityLoss",
    "SplitMethod",
    "TfidfConfig",
    "TrainConfig",
    "TrainerConfig",
    "Update",
    "VectorsConfig",
    "plain_config",
    "trainer_arguments",
    "typed_config",
]
