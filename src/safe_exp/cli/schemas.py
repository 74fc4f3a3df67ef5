"""Schemas: the typed shapes that Hydra checks conf/ against."""

from hydra.core.config_store import ConfigStore

from safe_exp.config import (
    AdamConfig,
    BaselineConfig,
    DataConfig,
    EvaluateConfig,
    ExportConfig,
    MethodConfig,
    PredictConfig,
    PrepareConfig,
    ReportConfig,
    SgdConfig,
    TfidfConfig,
    TrainConfig,
)
from safe_exp.data.captioners import captioners
from safe_exp.data.reading.readers import readers


def register_schemas() -> None:
    """Register every schema with Hydra, as `<name>_schema`; conf/*.yaml and conf/<group>/*.yaml list them by name.

    Each captioner and each kind of data set brings its own.
    """
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
    store.store(name="prepare_schema", node=PrepareConfig)
    store.store(name="baseline_schema", node=BaselineConfig)
    store.store(name="report_schema", node=ReportConfig)
    store.store(name="predict_schema", node=PredictConfig)
    store.store(name="export_schema", node=ExportConfig)
    for group, name, node in (
        ("data", "folder", DataConfig),
        *(("data", kind.name, kind.config) for kind in readers),
        *(("captioner", captioner.name, captioner.config) for captioner in captioners),
        ("baseline", "majority", MethodConfig),
        ("baseline", "tfidf", TfidfConfig),
        ("optimizer", "sgd", SgdConfig),
        ("optimizer", "adam", AdamConfig),
    ):
        store.store(group=f"schema/{group}", name=f"{name}_schema", node=node)
