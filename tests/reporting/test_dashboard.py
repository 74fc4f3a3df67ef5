"""The dashboard: what would be sent, and what W&B's own client sends to a server on this machine."""

import base64
import csv
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from safe_exp.config import DashboardConfig, plain_config
from safe_exp.reporting.dashboard import TITLE, define, require_package, send, view_name, write
from safe_exp.system.errors import UserError
from safe_exp.system.nested import flat
from tests.commands import environment
from tests.made import compose_config

LAST_PAGE = {"endCursor": None, "hasNextPage": False}
MADE = Path(__file__).parents[1] / "stored_runs" / "made" / "run"

pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is not installed (extra: dashboard)")


@pytest.fixture(scope="module")
def defined():
    return define(DashboardConfig(project="fakes", entity="lab", score="auroc", print=True, to=None))


def panels_of_workspace(defined):
    sections = defined["workspace"]["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in sections}


def grids_of_report(defined):
    """Collect panels and sets of runs below each heading of the report."""
    found, heading = {}, None
    for block in defined["report"]["spec"]["blocks"]:
        if block["type"] == "heading":
            heading = block["children"][0]["text"]
        if block["type"] == "panel-grid":
            (bank,) = [block["metadata"]["panelBankSectionConfig"]]
            found[heading] = (bank["panels"], block["metadata"]["runSets"])
    return found


SECTIONS = ["α and β", "Ablation", "Losses", "Curves of the test articles", "Articles"]


class Server(BaseHTTPRequestHandler):
    """W&B's GraphQL, as much as a dashboard needs: it stores views by id, and finds them by name or title."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        answer = {}  # to W&B's measurements of itself
        if self.path == "/graphql":
            asked = json.loads(body)
            answer = self.server.answer(asked["query"], asked.get("variables") or {})
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        """Keep the terminal quiet."""


class Views(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Server)
        self.projects, self.views, self.unknown = ["fakes"], {}, []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def answer(self, query, variables):
        if "upsertView(" in query:
            return {"data": {"upsertView": {"view": self.store(variables), "inserted": True}}}
        if "allViews(" in query:
            project = variables.get("name") or variables.get("project")
            if project not in self.projects:
                return {"data": {"project": None}}
            found = [view for view in self.views.values() if self.asked(view, query, variables)]
            edges = [{"node": view, "cursor": "c"} for view in found]
            views = {"edges": edges, "pageInfo": LAST_PAGE, "totalCount": len(edges)}
            return {"data": {"project": {"allViews": views}}}
        if "ProjectInternalId" in query:
            known = variables["projectName"] in self.projects
            return {"data": {"project": {"id": "P", "internalId": "7"} if known else None}}
        if re.search(r"\bmodels\b|projects\(", query):
            known = {"id": "P", "entityName": "lab", "createdAt": "", "isBenchmark": False, "user": None}
            edges = [{"node": {**known, "name": name}, "cursor": "c"} for name in self.projects]
            return {"data": {"models": {"edges": edges, "pageInfo": LAST_PAGE}}}
        if "viewer" in query:
            viewer = {"id": "U", "username": "ann", "entity": "lab", "email": "", "name": "Ann", "admin": False,
                      "flags": "{}", "teams": {"edges": []}, "apiKeys": {"edges": []}}  # fmt: skip
            return {"data": {"viewer": viewer, "serverInfo": {}}}
        self.unknown.append(query)
        return {"data": {}}

    @staticmethod
    def asked(view, query, variables):
        return (
            view["type"] == variables.get("viewType", "runs")
            and variables.get("viewName") in (None, view["name"], view["displayName"])
            and variables.get("reportName") in (None, view["displayName"])
        )

    def store(self, variables):
        known = self.views.get(variables.get("id")) or {
            "id": base64.b64encode(f"View:{len(self.views)}".encode()).decode()
        }
        place = {"id": "P", "name": variables["projectName"], "entityName": variables["entityName"]}
        self.views[known["id"]] = {
            **known, **{key: variables[key] for key in ("name", "displayName", "type", "spec", "description")},
            "project": place, "updatedAt": "2026-01-01T00:00:00", "createdAt": "2026-01-01T00:00:00", "user": {},
        }  # fmt: skip
        return self.views[known["id"]]


@pytest.fixture
def server():
    with Views() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def dashboard(server, tmp_path, *overrides):
    """Run the command in a process: W&B keeps its settings, and one connection, for the whole of it."""
    account = {"WANDB_BASE_URL": server.address, "WANDB_API_KEY": "0" * 40, "WANDB_MODE": "online"}
    return subprocess.run(
        [sys.executable, "-m", "safe_exp.dashboard", *overrides],
        cwd=tmp_path, env=environment(HOME=str(tmp_path), **account), capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_second_call_updates_the_workspace_and_the_report_of_the_first(server, tmp_path):
    done = [dashboard(server, tmp_path, "project=fakes", f"score={score}") for score in ("auroc", "f1_macro")]
    assert [each.returncode for each in done] == [0, 0], [each.stderr for each in done]
    assert not server.unknown
    views = {view["type"]: view for view in server.views.values()}
    assert len(server.views) == 2
    assert (views["project-view"]["displayName"], views["runs"]["displayName"]) == ("SAFE", TITLE)
    assert views["project-view"]["name"] == view_name("lab", "fakes")
    for view in views.values():
        assert "test/f1_macro" in view["spec"]
        assert "test/auroc" not in view["spec"]
    sent = re.sub(r'"(id|__id__)":"\w+"', "", views["project-view"]["spec"])
    printed = define(DashboardConfig(project="fakes", entity="lab", score="f1_macro", print=True, to=None))
    spec = json.dumps(printed["workspace"]["spec"], separators=(",", ":"), ensure_ascii=False)
    assert re.sub(r'"(id|__id__)":"\w+"', "", spec) == sent
    address = f"{server.address}/lab/fakes"
    assert f"Workspace made: {address}?nw=" in done[0].stdout + done[0].stderr
    assert f"Report updated: {address}/reports/" in done[1].stdout + done[1].stderr
    assert "wandb:" not in "".join(each.stdout + each.stderr for each in done)

    done = dashboard(server, tmp_path, "project=fakes", "print=true")
    assert json.loads(done.stdout)["report"]["projectName"] == "fakes"

    done = dashboard(server, tmp_path, "project=unknown")
    assert done.returncode == 1
    assert "project=unknown: W&B did not take the dashboard (" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_workspace_and_the_report_show_the_same_sections(defined):
    assert list(panels_of_workspace(defined)) == SECTIONS
    assert list(grids_of_report(defined)) == [*SECTIONS, "Failed jobs"]
    for name, panels in panels_of_workspace(defined).items():
        assert [panel["config"] for panel in panels] == [panel["config"] for panel in grids_of_report(defined)[name][0]]


def test_the_map_of_alpha_and_beta_is_coloured_by_the_validation_score(defined):
    scatter, parallel, importance = (panel["config"] for panel in panels_of_workspace(defined)["α and β"])
    assert [scatter[axis] for axis in ("xAxis", "yAxis", "zAxis")] == [
        "config:model.value.alpha", "config:model.value.beta", "summary:val/auroc",
    ]  # fmt: skip
    assert [point["offset"] for point in scatter["customGradient"]] == [0, 50, 100]
    assert [column["accessor"] for column in parallel["columns"]] == [
        "config:model.value.alpha", "config:model.value.beta", "summary:val/auroc",
    ]  # fmt: skip
    assert importance["targetKey"] == "val/auroc"


def test_the_bars_of_the_ablation_have_intervals_and_the_losses_are_grouped_by_sweep(defined):
    (bars,) = (panel["config"] for panel in panels_of_workspace(defined)["Ablation"])
    assert (bars["metrics"], bars["groupBy"]) == (["test/auroc"], "model.value.variant")
    assert (bars["groupAgg"], bars["groupArea"]) == ("mean", "stddev")
    for panel in panels_of_workspace(defined)["Losses"]:
        line = panel["config"]
        assert (line["xAxis"], line["groupBy"], line["groupAgg"], line["groupArea"]) == (
            "epoch", "group", "mean", "minmax",
        )  # fmt: skip


def test_every_figure_is_logged_by_a_run_and_every_key_is_one_of_the_config(defined):
    """The names come from the files of a run that an earlier version made."""
    with (MADE / "logs" / "version_0" / "metrics.csv").open(encoding="utf-8") as file:
        logged = set(next(csv.reader(file)))
    config = flat(plain_config(compose_config()))
    text = json.dumps(defined)
    figures = set(re.findall(r"(?:train|val|test)/(?!articles|roc_table|precision_recall_table)\w+", text))
    keys = set(re.findall(r"\b(model)\.value\.(\w+)", text))
    assert len(figures) == 5
    assert figures <= logged
    assert {".".join(key) for key in keys} == {"model.alpha", "model.beta", "model.variant"} <= set(config)


def test_curves_are_drawn_from_the_tables_of_the_runs(defined):
    charts = [panel["config"] for panel in panels_of_workspace(defined)["Curves of the test articles"]]
    assert [chart["panelDefId"] for chart in charts] == ["wandb/area-under-curve/v0"] * 2
    tables = [chart["userQuery"]["queryFields"][0]["fields"][0]["args"][0]["value"] for chart in charts]
    assert tables == ["Custom Chart Tables/test/roc_table", "Custom Chart Tables/test/precision_recall_table"]
    assert charts[0]["fieldSettings"] == {"x": "false positive rate", "y": "true positive rate", "class": "scorer"}
    (articles,) = panels_of_workspace(defined)["Articles"]
    assert articles["config"]["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"] == "test/articles"


def test_failed_jobs_are_found_by_their_state_and_all_else_shows_finished_runs(defined):
    filters = {name: sets[0]["filters"]["filters"] for name, (_, sets) in grids_of_report(defined).items()}
    states = {name: (each["key"]["name"], each["op"], each["value"]) for name, (each,) in filters.items()}
    assert states.pop("Failed jobs") == ("state", "IN", ["failed", "crashed", "killed"])
    assert set(map(str, states.values())) == {"('state', '=', 'finished')"}


def test_the_definition_is_written_without_an_account(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    config = DashboardConfig(project="fakes", entity=None, score="auroc", print=False, to=str(tmp_path / "d.json"))
    write(config)
    written = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))
    assert (written["workspace"]["projectName"], written["report"]["displayName"]) == ("fakes", TITLE)
    config.to = None
    write(config)
    assert json.loads(capsys.readouterr().out).keys() == {"workspace", "report"}


def test_without_an_account_there_is_one_message(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"no W&B account was found\. Run `wandb login`"):
        send(DashboardConfig(project="fakes", entity=None, score="auroc", print=False, to=None))


def test_a_score_that_no_run_logs_is_refused():
    with pytest.raises(UserError, match=r"score=aurco: runs log no such figure\. There are accuracy, "):
        DashboardConfig(project="fakes", entity=None, score="aurco", print=True, to=None)
    for score in ("similarity_auroc", "calibrated_brier", "loss_prediction"):
        DashboardConfig(project="fakes", entity=None, score=score, print=True, to=None)


def test_a_missing_package_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("safe_exp.reporting.dashboard.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "safe-exp\[dashboard\]"'):
        require_package()


def describe(panel):
    """Describe a chart in one line: its kind, and what it is drawn from."""
    config, kind = panel["config"], panel["viewType"]
    if kind == "Scatter Plot":
        return f"{kind}: {config['xAxis']} × {config['yAxis']}, coloured by {config['zAxis']}"
    if kind == "Parallel Coordinates Plot":
        return f"{kind}: {', '.join(column['accessor'] for column in config['columns'])}"
    if kind == "Parameter Importance":
        return f"{kind}: {config['targetKey']}"
    if kind in ("Bar Chart", "Run History Line Plot"):
        x = f" by {config['xAxis']}" if "xAxis" in config else ""
        by = f"{config['groupAgg']} and {config['groupArea']} of each {config['groupBy']}"
        return f"{kind}: {', '.join(config['metrics'])}{x}; {by}"
    if kind == "Vega2":
        table = config["userQuery"]["queryFields"][0]["fields"][0]["args"][0]["value"]
        return f"{config['panelDefId']}: {table}"
    if kind == "Weave":
        return f"Table: {config['panel2Config']['exp']['fromOp']['inputs']['key']['val']}"
    return kind


def test_the_page_shows_what_the_dashboard_holds(defined):
    lines = []
    for name, (panels, (runs,)) in grids_of_report(defined).items():
        (state,) = runs["filters"]["filters"]
        value = state["value"] if isinstance(state["value"], str) else ", ".join(state["value"])
        lines += [f"{name} (state: {value})", *(f"    {describe(panel)}" for panel in panels)]
    page = (Path(__file__).parents[2] / "docs" / "loggers.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r'```text title="The dashboard of score=auroc"\n(.*?)```', page, re.DOTALL)
    assert shown.splitlines() == lines, "\n".join(lines)
