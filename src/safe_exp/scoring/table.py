"""The figures of metrics.json as a table on the terminal."""

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from safe_exp.config.figure_names import DISPLAY_NAMES, lower_is_better

SCORERS = ("prediction", "similarity")  # of the table; a third would not fit a terminal of 80 columns
LOSS_SCORERS = {"loss": None, "loss_prediction": "prediction", "loss_similarity": "similarity"}


def _results_table(
    metrics: Mapping[str, Any],
    majority_rates: Mapping[str, float] | None = None,
    title: str = "Results of the best checkpoint",
) -> Table:
    """Lay out metrics.json as a table: a row for each figure, a column for each split and scorer.

    Args:
        metrics: the content of metrics.json.
        majority_rates: for each split the share of its larger class, the accuracy of a constant verdict.
        title: stands above the table.
    """
    splits = {name: metrics[name] for name in ("val", "test") if isinstance(metrics.get(name), Mapping)}
    scorers = [name for name in SCORERS if any(isinstance(split.get(name), Mapping) for split in splits.values())]
    columns = [(split, scorer) for split in splits for scorer in scorers or (None,)]
    table = Table(title=title, caption="↓ lower is better; fake is the positive class")
    table.add_column("", no_wrap=True)
    for split, scorer in columns:
        table.add_column(f"{split}\n{scorer}" if scorer else split, justify="right", no_wrap=True)

    def add_row(label: str, values: list[Any], style: str | None = None) -> None:
        """Add a row, unless all its values are missing."""
        if any(value is not None for value in values):
            table.add_row(label, *(_three_decimals(value) for value in values), style=style)

    for key, owner in LOSS_SCORERS.items():
        home = owner if owner in scorers else next(iter(scorers), None)  # L belongs to both; it stands in the first
        add_row(_row_name(key), [splits[split].get(key) if scorer == home else None for split, scorer in columns])
    table.add_section()
    for key in (key for key in DISPLAY_NAMES if key not in LOSS_SCORERS):
        add_row(_row_name(key), [(splits[split].get(scorer) or {}).get(key) for split, scorer in columns])
        if key == "accuracy" and majority_rates:
            add_row("  majority rate", [majority_rates.get(split) for split, _ in columns], style="dim")
    return table


def print_results(
    metrics: Mapping[str, Any],
    console: Console,
    majority_rates: Mapping[str, float] | None = None,
    title: str = "Results of the best checkpoint",
) -> None:
    """Print the figures of metrics.json as a table; arguments as in `_results_table`."""
    console.print(_results_table(metrics, majority_rates, title))


def _row_name(figure: str) -> str:
    """Name a figure, with an arrow where lower is better."""
    return f"{DISPLAY_NAMES[figure]} ↓" if lower_is_better(figure) else DISPLAY_NAMES[figure]


def _three_decimals(value: float | None) -> str:
    """Format a figure; a dash for one that is missing or undefined."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"
