"""The content of a W&B server as text, as a dashboard would show it."""

from collections.abc import Sequence
from typing import Any

from tests.wandb_server import WandbServer


def dashboard_text(
    server: WandbServer, config: Sequence[str] = (), summary: Sequence[str] = (), history: Sequence[str] = ()
) -> str:
    """Show what the dashboard holds: the table of runs; the history, charts and tables of each.

    Args:
        config: keys that are columns of the runs' table, joined by dots.
        summary: keys that are columns of the runs' table.
        history: keys that are columns of each run's history; rows without any of them are left out.
    """
    runs = sorted(server.runs.values(), key=lambda run: run.number)
    rows = [["run", "state", "group", *config, *summary]]
    for run in runs:
        values = [_nested(run.config, key) for key in config] + [run.summary.get(key) for key in summary]
        rows.append([run.name, run.state, run.group, *values])
    blocks = [_aligned(rows)]
    for run in runs:
        steps = [row for row in run.history if any(key in row for key in history)]
        shown = [list(history), *([row.get(key) for key in history] for row in steps)]
        blocks += [f"{run.name}: history", _aligned(shown)]
        for key, chart in sorted(run.charts.items()):
            count, fields = len(run.chart_table(key)["data"]), chart["fieldSettings"].items()
            drawn = ", ".join(f"{name}: {column}" for name, column in sorted(fields))
            blocks.append(f"{run.name}: chart {key}, {count} rows, {chart['panelDefId']} ({drawn})")
        media = {key: value for key, value in run.summary.items() if isinstance(value, dict) and "path" in value}
        blocks += [f"{run.name}: {value['_type']} {key}" for key, value in sorted(media.items())]
    return "\n".join(blocks)


def _nested(values: Any, key: str) -> Any:
    """Find `a.b` in nested dicts; None where it is not."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _aligned(rows: Sequence[Sequence[Any]]) -> str:
    """Write a table with columns of equal width; numbers with four digits after the point, nothing as a dash."""
    cells = [
        ["-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value) for value in row]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
