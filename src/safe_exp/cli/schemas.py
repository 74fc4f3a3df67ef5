"""Schemas: the typed shapes that Hydra checks conf/ against."""

import sys
from functools import partial

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from safe_exp.config import (
    AdamConfig,
    BaselineConfig,
    CallbacksConfig,
    DashboardConfig,
    DataConfig,
    EvaluateConfig,
    ExportConfig,
    MeanVectorsConfig,
    MethodConfig,
    PredictConfig,
    PrepareConfig,
    ReportConfig,
    SgdConfig,
    TfidfConfig,
    TrainConfig,
    TransformerVectorsConfig,
    VectorsConfig,
)
from safe_exp.config.hydra_versions import REPLACE
from safe_exp.data.captioners import captioners
from safe_exp.data.reading.readers import readers
from safe_exp.system.errors import UserError


def register_schemas() -> None:
    """Register every schema with Hydra, as `<name>_schema`; conf/*.yaml and conf/<group>/*.yaml list them by name.

    Each captioner and each kind of data set brings its own.

    Raises:
        SystemExit: one of their modules registers nothing under its name.
    """
    store = partial(ConfigStore.instance().store, **REPLACE)
    store(name="train_schema", node=_train_schema())
    store(name="evaluate_schema", node=EvaluateConfig)
    store(name="prepare_schema", node=PrepareConfig)
    store(name="baseline_schema", node=BaselineConfig)
    store(name="report_schema", node=ReportConfig)
    store(name="predict_schema", node=PredictConfig)
    store(name="export_schema", node=ExportConfig)
    store(name="dashboard_schema", node=DashboardConfig)
    try:
        data_kinds, captioner_kinds = list(readers), list(captioners)
    except UserError as error:  # a module that registers nothing under its name; no command has begun yet
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    for group, name, node in (
        ("data", "folder", DataConfig),
        *(("data", kind.name, kind.config) for kind in data_kinds),
        *(("captioner", kind.name, kind.config) for kind in captioner_kinds),
        ("vectors", "words", VectorsConfig),
        ("vectors", "transformer", TransformerVectorsConfig),
        ("baseline", "majority", MethodConfig),
        ("baseline", "tfidf", TfidfConfig),
        ("baseline", "mean_vectors", MeanVectorsConfig),
        ("optimizer", "sgd", SgdConfig),
        ("optimizer", "adam", AdamConfig),
        ("optimizer", "any", DictConfig({}, flags={"struct": False})),  # its class alone knows its arguments
    ):
        store(group=f"schema/{group}", name=f"{name}_schema", node=node)


def _train_schema() -> DictConfig:
    """Make the schema of train, where `callbacks.extra.<name>` can be given as any other key, without a + before it."""
    schema = OmegaConf.structured(TrainConfig)
    schema.callbacks = OmegaConf.structured(CallbacksConfig)
    OmegaConf.set_struct(schema.callbacks.extra, False)
    return schema
