"""W&B's own charts of a run's numbers, so that its dashboard can lay several runs over each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from safe_exp.scoring.charts import ChartTable


class Preset(NamedTuple):
    """One of the charts that every W&B server has, and the columns that it is drawn from."""

    name: str
    fields: dict[str, str]  # the preset's own names → columns of the table
    texts: dict[str, str]


def _curve(title: str, x: str, y: str) -> Preset:
    return Preset(
        "wandb/area-under-curve/v0",
        {"x": x.lower(), "y": y.lower(), "class": "scorer"},
        {"title": title, "x-axis-title": x, "y-axis-title": y},
    )


def _lines(title: str, x: str, y: str, line: str) -> Preset:
    return Preset("wandb/lineseries/v0", {"step": x, "lineKey": line, "lineVal": y}, {"title": title, "xname": x})


PRESETS = {
    "roc": _curve("ROC of the test articles", "False positive rate", "True positive rate"),
    "precision_recall": _curve("Precision and recall on the test articles", "Recall", "Precision"),
    "confusion": Preset(
        "wandb/confusion_matrix/v1",
        {"Actual": "truth", "Predicted": "verdict", "nPredictions": "articles"},
        {"title": "Verdicts on the test articles"},
    ),
    "reliability": _lines(
        "Reliability: share of fakes by probability", "mean probability", "share that is fake", "probabilities"
    ),
    "similarity": _lines(
        "Similarity of text and image (% of the class)", "similarity", "share of the class (%)", "class"
    ),
}


def wandb_charts(tables: Mapping[str, ChartTable]) -> dict[str, Any]:
    """Make W&B's charts from tables, by the keys that they are logged as, such as `test/roc`.

    Args:
        tables: from `chart_tables`.
    """
    import wandb

    charts = {}
    for name, table in tables.items():
        preset = PRESETS[name]
        data = wandb.Table(columns=list(table.columns), data=table.rows)
        charts[f"test/{name}"] = wandb.plot_table(preset.name, data, preset.fields, preset.texts, split_table=True)
    return charts
