"""What the figures of metrics.json are called: in the logs, in tables, on axes. No heavy imports, so anyone may ask."""

from collections.abc import Mapping
from typing import Any

LABELS = {
    "accuracy": "accuracy",
    "precision": "precision of fake",
    "recall": "recall of fake",
    "f1": "F1 of fake",
    "f1_macro": "F1, macro",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "ece": "calibration error",
    "loss": "loss L",
    "loss_prediction": "loss L_p",
    "loss_similarity": "loss L_s",
}
LOWER_IS_BETTER = ("brier", "ece", "loss", "loss_prediction", "loss_similarity")
OF_SIMILARITY = "similarity_"  # begins the name of a figure of the scorer 1 - M_s
OF_COMBINED = "combined_"  # of the scorer that joins M_p and M_s


def log_names(figures: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a split under the names they are logged by: f1 is the verdict's, similarity_f1 that of M_s."""
    named = {name: value for name, value in figures.items() if isinstance(value, float)} | figures["prediction"]
    for prefix, scorer in ((OF_SIMILARITY, "similarity"), (OF_COMBINED, "combined")):
        named |= {f"{prefix}{name}": value for name, value in figures.get(scorer, {}).items()}
    return named


def label_of(name: str) -> str:
    """`name`, as logged, in words: similarity_auroc is the AUROC of 1 - M_s."""
    if name.startswith(OF_COMBINED):
        return f"{label_of(name.removeprefix(OF_COMBINED))} of M_p and M_s"
    if name in LABELS or not name.startswith(OF_SIMILARITY):
        return LABELS.get(name, name)
    return f"{label_of(name.removeprefix(OF_SIMILARITY))} of 1 - M_s"


def lower_is_better(name: str) -> bool:
    return name.removeprefix(OF_SIMILARITY).removeprefix(OF_COMBINED) in LOWER_IS_BETTER or name in LOWER_IS_BETTER
