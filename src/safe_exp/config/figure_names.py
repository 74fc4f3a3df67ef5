"""What the figures of metrics.json are called: in the logs, in tables, on axes; and where scores are cut.

No heavy imports, so anyone may ask.
"""

from collections.abc import Mapping
from typing import Any

THRESHOLD = 0.5  # a score above it is the verdict "fake", unless the user asks for the best on validation
BEST = "best"

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
OF_CALIBRATED = "calibrated_"  # of the verdict's probability at the temperature that validation found
IN_WORDS = {OF_SIMILARITY: " of 1 - M_s", OF_COMBINED: " of M_p and M_s", OF_CALIBRATED: ", calibrated"}


def log_names(figures: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a split under the names they are logged by: f1 is the verdict's, similarity_f1 that of M_s."""
    named = {name: value for name, value in figures.items() if isinstance(value, float)} | figures["prediction"]
    for prefix in IN_WORDS:
        scorer = figures.get(prefix.removesuffix("_"), {})
        named |= {f"{prefix}{name}": value for name, value in scorer.items()}
    return named


def label_of(name: str) -> str:
    """`name`, as logged, in words: similarity_auroc is the AUROC of 1 - M_s."""
    figure, of_scorer = _parts(name)
    return LABELS.get(figure, figure) + of_scorer


def lower_is_better(name: str) -> bool:
    return _parts(name)[0] in LOWER_IS_BETTER


def _parts(name: str) -> tuple[str, str]:
    """The figure, and in words the scorer that it is of; nothing for the verdict's own."""
    for prefix, of_scorer in IN_WORDS.items():
        if name.startswith(prefix) and name not in LABELS:
            return name.removeprefix(prefix), of_scorer
    return name, ""
