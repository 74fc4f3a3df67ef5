"""A dashboard as code: the W&B workspace and the W&B report that `python -m safe_exp.dashboard` makes or updates.

Both show the same charts. The report adds a sentence to each and the list of failed jobs.
"""

from __future__ import annotations

import json
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safe_exp.config import DashboardConfig
from safe_exp.config.figure_names import describe_score
from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UserError
from safe_exp.system.files import whole_file

log = logging.getLogger(__name__)

NAME = "SAFE"  # of the workspace, in W&B's list of views
TITLE = "SAFE: runs of this project"  # of the report; a second call finds the report by it
COLOURS = ("#440154", "#21918c", "#fde725")  # from the lowest to the highest score
FINISHED = "State = 'finished'"
FAILED = "State in ['failed', 'crashed', 'killed']"
COLUMNS = ["run:displayName", "run:state", "run:group", "config:model.value.alpha", "config:model.value.beta"]


def require_package() -> None:
    """Refuse to begin without wandb-workspaces.

    Raises:
        UserError: it is not installed; the message has the command that installs it.
    """
    if find_spec("wandb_workspaces") is None:
        raise UserError(
            'safe_exp.dashboard needs wandb-workspaces, which is not installed: pip install "safe-exp[dashboard]".'
        )


def send(config: DashboardConfig) -> None:
    """Make the workspace and the report on W&B's server, or bring those of an earlier call up to date.

    Raises:
        UserError: there is no account, or W&B refuses.
    """
    import wandb

    from safe_exp.runs.loggers._opened import in_one_line
    from safe_exp.runs.loggers.wandb import has_account

    if not has_account(wandb.setup().settings):  # W&B would ask for a key, or end with a traceback
        raise UserError(
            "safe_exp.dashboard: no W&B account was found. Run `wandb login`, or set WANDB_API_KEY. Without one, "
            "print=true shows the dashboard's definition."
        )
    try:
        api = wandb.Api()
        wandb.termsetup(wandb.Settings(silent=True, show_info=False, show_warnings=False), None)
        entity = config.entity or api.default_entity
        workspace, report = build_workspace(config, entity), build_report(config, entity)
        _find_workspace(workspace)
        report.id = _find_report(api, f"{entity}/{config.project}")
        updated = bool(report.id)
        workspace.save()
        report.save()
    except Exception as error:  # whatever a service or a network can raise
        raise UserError(
            f"project={config.project}: W&B did not take the dashboard ({in_one_line(error)}). Are project and entity "
            "right, and is there a run in the project?"
        ) from error
    done = "updated" if updated else "made"
    log.info("Workspace %s: %s", done, workspace.url)
    log.info("Report %s: %s", done, report.url)


def write(config: DashboardConfig) -> None:
    """Write what `send` would send, as JSON, to `config.to` or to standard output. No network is used.

    Raises:
        UserError: the file cannot be written.
    """
    text = json.dumps(define(config), indent=2, ensure_ascii=False) + "\n"
    if config.to is None:
        print(text, end="")
        return
    try:
        with whole_file(Path(config.to).expanduser()) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"to={config.to}: the file cannot be written ({error.strerror or error}).") from error
    log.info("%s holds the definition of the dashboard.", config.to)


def define(config: DashboardConfig) -> dict[str, Any]:
    """Return what would be sent: {"workspace": {...}, "report": {...}}, each with its `spec` as W&B stores it."""
    from safe_exp.reporting.compat import identify, recorded

    entity = config.entity or "entity"
    with recorded(config.project) as sent:
        identify(workspace := build_workspace(config, entity), view_name(entity, config.project))
        workspace.save()
        build_report(config, entity).save()
    views = [{**each, "spec": json.loads(each["spec"])} for each in sent]
    return dict(zip(("workspace", "report"), views, strict=True))


def build_workspace(config: DashboardConfig, entity: str) -> Any:
    """Build the workspace: a section for each group of charts."""
    import wandb_workspaces.workspaces as ws

    sections = [
        ws.Section(name=title, panels=panels, is_open=True) for title, _, panels in _charts(config.score) if panels
    ]
    settings = ws.RunsetSettings(pinned_columns=[*COLUMNS, f"summary:test/{config.score}"])
    return ws.Workspace(entity=entity, project=config.project, name=NAME, sections=sections, runset_settings=settings)


def build_report(config: DashboardConfig, entity: str) -> Any:
    """Build the report: for each group of charts a heading, a sentence and the charts of all finished runs."""
    import wandb_workspaces.reports.v2 as wr

    blocks: list[Any] = [wr.TableOfContents()]
    for title, sentence, panels in _charts(config.score):
        blocks += [wr.H2(text=title), wr.P(text=sentence), wr.PanelGrid(runsets=[_runs(config, entity)], panels=panels)]
    failed = wr.PanelGrid(
        runsets=[_runs(config, entity, "failed jobs", FAILED)], panels=[wr.RunComparer(diff_only="split")]
    )
    blocks += [
        wr.H2(text="Failed jobs"),
        wr.P(text="Runs that ended with an error, were killed, or gave no sign of life; their settings side by side."),
        failed,
    ]
    return wr.Report(
        entity=entity,
        project=config.project,
        title=TITLE,
        description="Made by python -m safe_exp.dashboard, which replaces it when it is called again.",
        blocks=blocks,
        width="fluid",
    )


def _runs(config: DashboardConfig, entity: str, name: str = "finished runs", filters: str = FINISHED) -> Any:
    import wandb_workspaces.reports.v2 as wr

    columns = [*COLUMNS, f"summary:test/{config.score}"]
    return wr.Runset(entity=entity, project=config.project, name=name, filters=filters, pinned_columns=columns)


def _charts(score: str) -> list[tuple[str, str, list[Any]]]:
    """List title, sentence and charts of each section. Each call builds new charts: a page keeps its own layout."""
    import wandb_workspaces.reports.v2 as wr

    def curve(key: str, x: str, y: str) -> Any:
        return wr.CustomChart(
            query={"summaryTable": {"tableKey": f"Custom Chart Tables/{key}_table"}},
            chart_name="wandb/area-under-curve/v0",
            chart_fields={"x": x.lower(), "y": y.lower(), "class": "scorer"},
            chart_strings={"title": f"{y} by {x.lower()}", "x-axis-title": x, "y-axis-title": y},
        )

    named = describe_score(score)
    gradient = [wr.GradientPoint(color=colour, offset=50 * place) for place, colour in enumerate(COLOURS)]
    loss_curves = [
        wr.LinePlot(
            title=f"{name}, by sweep", x="epoch", y=[key], groupby="Group", groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
        )
        for key, name in (("train/loss", "loss L, training"), ("val/loss", "loss L, validation"),
                          ("val/loss_prediction", "loss L_p, validation"))
    ]  # fmt: skip
    return [
        (
            "α and β",
            f"The {named} on validation by the weights of the two losses, and the keys that it depends on most.",
            [
                wr.ScatterPlot(
                    title=f"{named} on validation", x=wr.Config("model.alpha"), y=wr.Config("model.beta"),
                    z=wr.SummaryMetric(f"val/{score}"), gradient=gradient,
                ),
                wr.ParallelCoordinatesPlot(
                    title=f"α, β and {named}",
                    columns=[
                        wr.ParallelCoordinatesPlotColumn(metric=metric, display_name=name)
                        for metric, name in ((wr.Config("model.alpha"), "α"), (wr.Config("model.beta"), "β"),
                                             (wr.SummaryMetric(f"val/{score}"), f"{named}, validation"))
                    ],
                ),
                wr.ParameterImportancePlot(with_respect_to=f"val/{score}"),
            ],
        ),
        (
            "Ablation",
            f"The {named} on the test articles by variant of the model: mean and standard deviation of its runs.",
            [
                wr.BarPlot(
                    title=f"{named} on the test articles", metrics=[f"test/{score}"],
                    groupby=wr.Config("model.variant"), groupby_aggfunc="mean", groupby_rangefunc="stddev",
                ),
            ],
        ),
        ("Losses", "The mean of each sweep's runs by epoch; the band holds all of them.", loss_curves),
        (
            "Curves of the test articles",
            "Each run's own curves, one over the other.",
            [
                curve("test/roc", "False positive rate", "True positive rate"),
                curve("test/precision_recall", "Recall", "Precision"),
            ],
        ),
        (
            "Articles",
            "All test articles. Sorted by probability, and filtered by label, the worst come first.",
            [wr.WeavePanelSummaryTable(table_name="test/articles", layout=wr.Layout(w=24, h=12))],
        ),
    ]  # fmt: skip


def view_name(entity: str, project: str) -> str:
    """Return the name of the project's workspace inside W&B, by which a second call finds it.

    W&B draws such names by chance, of eleven letters and digits.
    """
    return f"nw-{json_digest([entity, project, NAME])[:11]}-v"


def _find_workspace(workspace: Any) -> None:
    """Give a workspace the name and id under which W&B has that of an earlier call; a new one, its name alone."""
    import wandb_workspaces.workspaces as ws

    from safe_exp.reporting.compat import identify

    name = view_name(workspace.entity, workspace.project)
    identify(workspace, name)
    try:
        identify(workspace, name, ws.Workspace.from_url(workspace.url))
    except ValueError as error:
        if "Workspace" not in str(error):  # the project itself is missing
            raise


def _find_report(api: Any, path: str) -> str:
    """Return the id of the report of an earlier call; empty where there is none."""
    return next((str(report.id) for report in api.reports(path, name=TITLE) if report.display_name == TITLE), "")
