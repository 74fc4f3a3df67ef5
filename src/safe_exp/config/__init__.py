"""The typed shape of conf/: what each key may be, in which unit, and which combinations make sense.

YAML in conf/ holds the values, this file holds the types. Hydra refuses unknown names and wrong types while it composes
(in a sweep: for every job, before the first one starts); the `__post_init__` checks refuse wrong values when
`typed_config` turns the composed config into these classes, before anything is read or built. What depends on the
variant of the model is checked by `safe_exp.training.checks`, as the first thing that a training does.
"""

from safe_exp.config.baseline import BaselineConfig, MethodConfig, TfidfConfig
from safe_exp.config.captioner import (
    BlipConfig,
    CaptionerConfig,
    FileCaptionerConfig,
    VisualWordsConfig,
    captioner_from_plain,
)
from safe_exp.config.commands import (
    CONF,
    EvaluateConfig,
    ExportConfig,
    PrepareConfig,
    ReportConfig,
    TrainConfig,
    plain_config,
    register_schemas,
    typed_config,
)
from safe_exp.config.data import (
    MODALITIES,
    DataConfig,
    SplitMethod,
    SyntheticDataConfig,
    TableDataConfig,
    VectorsConfig,
)
from safe_exp.config.model import (
    AdamConfig,
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
    "BlipConfig",
    "CallbacksConfig",
    "CaptionerConfig",
    "ConvergenceConfig",
    "DataConfig",
    "EarlyStoppingConfig",
    "EvaluateConfig",
    "ExportConfig",
    "FileCaptionerConfig",
    "LoggerConfig",
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
    "SyntheticDataConfig",
    "TableDataConfig",
    "TfidfConfig",
    "TrainConfig",
    "TrainerConfig",
    "Update",
    "VectorsConfig",
    "VisualWordsConfig",
    "captioner_from_plain",
    "plain_config",
    "register_schemas",
    "trainer_arguments",
    "typed_config",
]
