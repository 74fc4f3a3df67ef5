"""Types of conf/: the type, unit and range of each key, and the combinations that are refused.

The YAML files in conf/ hold the values, this package holds the types. The types of a captioner or of a kind of data set
are beside its code, in data/captioners/ and data/reading/readers/. Hydra refuses unknown names and wrong types while it
composes; in a sweep it does so for every job before the first one starts. `typed_config` turns the composed config into
these classes, whose `__post_init__` refuses wrong values before anything is read or built. Checks that depend on the
variant of the model are in `safe_exp.training.checks`, which a training calls first.

The comment behind each field is shown on the documentation's page of keys (docs/generate_keys.py).
"""

from safe_exp.config.baseline import BaselineConfig, MeanVectorsConfig, MethodConfig, RegressionConfig, TfidfConfig
from safe_exp.config.captioner import CaptionerConfig, StoredCaptioner
from safe_exp.config.commands import (
    CONF,
    DashboardConfig,
    EvaluateConfig,
    ExportConfig,
    ExtrasConfig,
    PrepareConfig,
    ReportConfig,
    TrainConfig,
    plain_config,
    typed_config,
)
from safe_exp.config.data import (
    MODALITIES,
    AnyVectorsConfig,
    DataConfig,
    SplitMethod,
    StoredVectors,
    TransformerVectorsConfig,
    VectorsConfig,
)
from safe_exp.config.model import (
    AdamConfig,
    AnyOptimizerConfig,
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
    Select,
    TrainerConfig,
    trainer_arguments,
)

__all__ = [
    "CONF",
    "MODALITIES",
    "AdamConfig",
    "AnyOptimizerConfig",
    "AnyVectorsConfig",
    "BaselineConfig",
    "CallbacksConfig",
    "CaptionerConfig",
    "ConvergenceConfig",
    "DashboardConfig",
    "DataConfig",
    "EarlyStoppingConfig",
    "EvaluateConfig",
    "ExportConfig",
    "ExtrasConfig",
    "LoggerConfig",
    "LossSettings",
    "MeanVectorsConfig",
    "MethodConfig",
    "ModelConfig",
    "OptimizerConfig",
    "Order",
    "PredictConfig",
    "PrepareConfig",
    "RegressionConfig",
    "ReportConfig",
    "Select",
    "SgdConfig",
    "SimilarityLoss",
    "SplitMethod",
    "StoredCaptioner",
    "StoredVectors",
    "TfidfConfig",
    "TrainConfig",
    "TrainerConfig",
    "TransformerVectorsConfig",
    "Update",
    "VectorsConfig",
    "plain_config",
    "trainer_arguments",
    "typed_config",
]
