"""The typed shape of conf/: what each key may be, in which unit, and which combinations make sense.

YAML in conf/ holds the values, this file holds the types. Hydra refuses unknown names and wrong types while it composes
(in a sweep: for every job, before the first one starts); the `__post_init__` checks refuse wrong values when
`typed_config` turns the composed config into these classes, before anything is read or built.
"""

from safe_exp.config.commands import (
    CONF,
    PACKAGE,
    EvaluateConfig,
    ReportConfig,
    TrainConfig,
    plain_config,
    register_schemas,
    typed_config,
)
from safe_exp.config.data import (
    CaptionerConfig,
    DataConfig,
    SplitMethod,
    SyntheticDataConfig,
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
    Variant,
)
from safe_exp.config.trainer import (
    CallbacksConfig,
    ConvergenceConfig,
    EarlyStoppingConfig,
    LoggerConfig,
    TrainerConfig,
    trainer_arguments,
)

__all__ = [
    "CONF", "PACKAGE", "AdamConfig", "CallbacksConfig", "CaptionerConfig", "ConvergenceConfig", "DataConfig",
    "EarlyStoppingConfig", "EvaluateConfig", "LoggerConfig", "ModelConfig", "OptimizerConfig", "Order", "ReportConfig",
    "SgdConfig", "SimilarityLoss", "SplitMethod", "SyntheticDataConfig", "TrainConfig", "TrainerConfig", "Update",
    "Variant", "VectorsConfig", "plain_config", "register_schemas", "trainer_arguments", "typed_config",
]  # fmt: skip
