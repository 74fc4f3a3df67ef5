"""Names of the figures in metrics.json, as logged and as displayed.

Nothing heavy is imported here, since every command reads these names.
"""

from collections.abc import Mapping
from typing import Any

DISPLAY_NAMES = {
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
# First part of the logged name of a figure → last part of its display name. Figures of the verdict have neither.
SIMILARITY_PREFIX = "similarity_"  # the scorer 1 - M_s
COMBINED_PREFIX = "combined_"  # the scorer that joins M_p and M_s
CALIBRATED_PREFIX = "calibrated_"  # the verdict's probability at the temperature fitted on validation
SCORER_SUFFIXES = {
    SIMILARITY_PREFIX: " of 1 - M_s",
    COMBINED_PREFIX: " of M_p and M_s",
    CALIBRATED_PREFIX: ", calibrated",
}


def log_names(figures: Mapping[str, Any]) -> dict[str, float]:
    """Flatten the figures of a split to their logged names: f1 is the verdict's, similarity_f1 that of 1 - M_s.

    Args:
        figures: a split's entry in metrics.json.
    """
    named = {name: value for name, value in figures.items() if isinstance(value, float)} | figures["prediction"]
    for prefix in SCORER_SUFFIXES:
        scorer = figures.get(prefix.removesuffix("_"), {})
        named |= {f"{prefix}{name}": value for name, value in scorer.items()}
    return named


def describe_score(name: str) -> str:
    """Return the display name of a logged figure: "AUROC of 1 - M_s" for similarity_auroc."""
    figure, suffix = _split_name(name)
    return DISPLAY_NAMES.get(figure, figure) + suffix


def is_known_score(name: str) -> bool:
    """Tell whether a run may log a figure of this name."""
    return _split_name(name)[0] in DISPLAY_NAMES


def lower_is_better(name: str) -> bool:
    """Return True if a smaller value of a logged figure is the better one."""
    return _split_name(name)[0] in LOWER_IS_BETTER


def _split_name(name: str) -> tuple[str, str]:
    """Split a logged name into the figure and the suffix of its scorer, empty for the verdict."""
    for prefix, suffix in SCORER_SUFFIXES.items():
        if name.startswith(prefix) and name not in DISPLAY_NAMES:
            return name.removeprefix(prefix), suffix
    return name, ""
