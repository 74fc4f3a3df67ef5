"""W&B's server on 127.0.0.1: what the SDK needs to log live and to run an agent, and what a dashboard would then show.

It answers the GraphQL that `wandb-core` and the SDK send, by the first field of a query, and takes the file stream
and the uploads. Nothing of it is W&B's own server: an answer holds only those fields that the SDK reads.
"""

import asyncio
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import yaml
from aiohttp import web

ENTITY = "lab"
API_KEY = "0" * 40
CRASHED_AFTER_SECONDS = 300  # without a sign of life a run counts as crashed
FIRST_FIELD = re.compile(r"\{\s*(\w+)")
ASKED_TYPE = re.compile(r"(\w+)\s*:\s*__type\(name:\s*[\"$](\w+)")
TYPES = {  # SDKs of 0.25 ask what the server knows, and leave out what it does not
    "Query": ("serverInfo",),
    "Mutation": (),
    "ServerInfo": ("cliVersionInfo",),
    "CreateArtifactInput": (
        "aliases", "artifactCollectionName", "artifactTypeName", "clientID", "description", "digest", "digestAlgorithm",
        "distributedID", "entityName", "historyStep", "metadata", "projectName", "runName", "sequenceClientID",
    ),
}  # fmt: skip
HISTORY, EVENTS, SUMMARY = "wandb-history.jsonl", "wandb-events.jsonl", "wandb-summary.json"


@dataclass
class LiveRun:
    """One run, as its page in the dashboard shows it."""

    id: str
    number: int  # in the order in which they began
    project: str = ""
    fields: dict[str, Any] = field(default_factory=dict)  # of UpsertBucket: displayName, groupName, tags, …
    raw_config: dict[str, Any] = field(default_factory=dict)  # each value as {"value": …}
    lines: dict[str, list[str]] = field(default_factory=dict)  # of the streamed files
    files: dict[str, bytes] = field(default_factory=dict)  # uploaded
    exit_code: int | None = None
    starts: int = 0
    last_seen: float = 0.0
    stop: bool = False  # the dashboard's Stop button was pressed

    @property
    def name(self) -> str:
        return self.fields.get("displayName") or self.id

    @property
    def group(self) -> str | None:
        return self.fields.get("groupName")

    @property
    def state(self) -> str:
        """State by the exit code; without one, running or crashed by the age of the last sign of life."""
        if self.exit_code is not None:
            return "finished" if self.exit_code == 0 else "failed"
        return "running" if time.monotonic() - self.last_seen < CRASHED_AFTER_SECONDS else "crashed"

    @property
    def config(self) -> dict[str, Any]:
        return {key: entry["value"] for key, entry in self.raw_config.items() if key != "_wandb"}

    @property
    def charts(self) -> dict[str, dict[str, Any]]:
        """Custom charts by key: the preset (panelDefId), the columns (fieldSettings) and the texts (stringSettings)."""
        shown = self.raw_config.get("_wandb", {}).get("value", {}).get("visualize", {})
        return {key: chart["panel_config"] for key, chart in shown.items()}

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines.get(HISTORY, [])]

    @property
    def summary(self) -> dict[str, Any]:
        streamed = self.lines.get(SUMMARY)
        return json.loads(streamed[-1] if streamed else self.files.get(SUMMARY, b"{}"))

    def table(self, key: str) -> dict[str, Any]:
        """Columns and data of the table that was logged as `key`, as it was uploaded."""
        return json.loads(self.files[self.summary[key]["path"]])

    def chart_table(self, key: str) -> dict[str, Any]:
        """Columns and data of the chart `key`, from the table that the chart's own query names."""
        (query,) = self.charts[key]["userQuery"]["queryFields"]
        (table,) = [f for f in query["fields"] if f["name"] == "summaryTable"]
        return self.table(table["args"][0]["value"])


@dataclass
class LiveSweep:
    """A sweep of W&B: `jobs` are the values that it will propose, one dict each."""

    id: str
    config: str
    jobs: list[dict[str, Any]] = field(default_factory=list)
    handed_out: list[str] = field(default_factory=list)  # run ids


class WandbServer:
    """The server, in a thread of its own.

    Attributes:
        fault: "error" answers everything with 500, "stall" accepts and never answers; None works.
        asked: the GraphQL fields asked for, in order.
    """

    def __init__(self) -> None:
        self.runs: dict[str, LiveRun] = {}
        self.sweeps: dict[str, LiveSweep] = {}
        self.artifacts: list[dict[str, Any]] = []  # input of createArtifact, with `state` and uploaded `files`
        self.fault: str | None = None
        self.asked: list[str] = []
        self.unknown: list[str] = []  # queries that got no answer: the protocol has moved
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead the SDK here."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": API_KEY, "WANDB_MODE": "online"}

    def by_name(self) -> dict[str, LiveRun]:
        return {run.name: run for run in self.runs.values()}

    def close(self) -> None:
        """Go away: open connections are cut, and no new one is accepted."""
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    async def _start(self) -> int:
        self._closing = asyncio.Event()
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/graphql", self._graphql)
        app.router.add_post("/files/{entity}/{project}/{run}/file_stream", self._file_stream)
        app.router.add_put("/upload/{run}/{name:.+}", self._upload)
        app.router.add_put("/artifact/{number}/{name:.+}", self._upload_artifact)
        app.router.add_route("*", "/{rest:.*}", self._accept)  # telemetry
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return site._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._closing.set()
        await self._runner.cleanup()

    async def _misbehave(self) -> None:
        if self.fault == "error":
            raise web.HTTPInternalServerError(text="the database is down")
        if self.fault == "stall":
            await self._closing.wait()
            raise web.HTTPServiceUnavailable

    async def _accept(self, request: web.Request) -> web.Response:
        await request.read()
        await self._misbehave()
        return web.json_response({})

    # ── runs ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _file_stream(self, request: web.Request) -> web.Response:
        body = await request.json()
        await self._misbehave()
        run = self.runs[request.match_info["run"]]
        run.last_seen = time.monotonic()
        for name, chunk in (body.get("files") or {}).items():
            lines, offset = run.lines.setdefault(name, []), chunk.get("offset", 0)
            lines[offset : offset + len(chunk["content"])] = chunk["content"]
        if body.get("complete"):
            run.exit_code = body.get("exitcode", 0)
        return web.json_response({"stopped": run.stop})

    async def _upload(self, request: web.Request) -> web.Response:
        content = await request.read()
        await self._misbehave()
        self.runs[request.match_info["run"]].files[unquote(request.match_info["name"])] = content
        return web.json_response({})

    async def _upload_artifact(self, request: web.Request) -> web.Response:
        content = await request.read()
        await self._misbehave()
        self.artifacts[int(request.match_info["number"])]["files"][unquote(request.match_info["name"])] = content
        return web.json_response({})

    async def _graphql(self, request: web.Request) -> web.Response:
        body = await request.json()
        await self._misbehave()
        query, variables = body["query"], body.get("variables") or {}
        if types := ASKED_TYPE.findall(query):
            return web.json_response({"data": {alias: _type(variables.get(name, name)) for alias, name in types}})
        asked = FIRST_FIELD.search(query)[1]
        self.asked.append(asked)
        answer = getattr(self, f"_answer_{asked}", None)
        if answer is None:
            self.unknown.append(query)
            return web.json_response({"data": {asked: None}})
        beside = {"serverInfo": self._answer_serverInfo({})} if "serverInfo" in query else {}
        return web.json_response({"data": beside | {asked: answer(variables)}})

    def _answer_viewer(self, _: Mapping[str, Any]) -> Any:
        user = {"id": "user", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": "", "flags": "{}"}
        return user | {"admin": False, "teams": {"edges": []}, "apiKeys": {"edges": []}, "deletedAt": None}

    def _answer_serverInfo(self, _: Mapping[str, Any]) -> Any:  # W&B's name
        return {"features": [], "cliVersionInfo": {"max_cli_version": "1.0.0"}}

    def _answer_entity(self, _: Mapping[str, Any]) -> Any:
        return {"organization": {"coreWeaveOrganizationId": None}, "xxhashDigestsEnabled": False}

    def _answer_model(self, asked: Mapping[str, Any]) -> Any:
        """Answer a run that asks if there is an earlier part of it."""
        run = self.runs.get(asked["name"])
        project = {"id": "project", "name": asked["project"], "entity": {"id": "entity", "name": ENTITY}}
        if run is None:
            return project | {"bucket": None}
        tail = {name: json.dumps(run.lines.get(name, [])[-1:]) for name in (HISTORY, EVENTS)}
        counts = {name: len(run.lines.get(name, [])) for name in (HISTORY, EVENTS)}
        return project | {
            "bucket": self._bucket(run) | {
                "summaryMetrics": json.dumps(run.summary), "logLineCount": 0, "historyLineCount": counts[HISTORY],
                "eventsLineCount": counts[EVENTS], "historyTail": tail[HISTORY], "eventsTail": tail[EVENTS],
                "tags": run.fields.get("tags") or [], "notes": run.fields.get("notes"),
                "wandbConfig": json.dumps({"t": 1}),
            }
        }  # fmt: skip

    def _answer_upsertBucket(self, asked: Mapping[str, Any]) -> Any:
        texts = [("displayName", 128), ("groupName", 128), ("jobType", 64)]
        too_long = [key for key, most in texts if len(asked.get(key) or "") > most]
        if too_long or max(map(len, asked["tags"] or []), default=0) > 64:
            raise web.HTTPBadRequest(text="a name, group, type or tag is too long")  # limits of W&B's own server
        name, new = asked["name"], asked["name"] not in self.runs
        run = self.runs.setdefault(name, LiveRun(name, len(self.runs), asked["project"]))
        run.last_seen = time.monotonic()
        if asked.get("host"):  # sent once by each process that begins or resumes the run
            run.starts, run.exit_code = run.starts + 1, None
        run.fields |= {key: value for key, value in asked.items() if value is not None}
        run.raw_config |= json.loads(asked.get("config") or "{}")
        return {"bucket": self._bucket(run), "inserted": new}

    def _bucket(self, run: LiveRun) -> dict[str, Any]:
        return {
            "id": f"id-of-{run.id}", "name": run.id, "displayName": run.name, "description": None,
            "config": json.dumps(run.raw_config), "sweepName": run.fields.get("sweep"),
            "project": {"id": "project", "name": run.project, "entity": {"id": "entity", "name": ENTITY}},
            "historyLineCount": len(run.lines.get(HISTORY, [])),
        }  # fmt: skip

    def _answer_createRunFiles(self, asked: Mapping[str, Any]) -> Any:
        run = asked.get("run") or asked["runName"]
        files = [{"name": name, "uploadUrl": f"{self.url}/upload/{run}/{quote(name)}"} for name in asked["files"]]
        return {"runID": f"id-of-{run}", "uploadHeaders": [], "files": files}

    def _answer_markRunFilesUploaded(self, _: Mapping[str, Any]) -> Any:
        return {"success": True}

    # ── artifacts: each logged table is one too ───────────────────────────────────────────────────────────────────────

    def _answer_createArtifact(self, asked: Mapping[str, Any]) -> Any:
        self.artifacts.append({**asked["input"], "state": "PENDING", "files": {}})
        number = str(len(self.artifacts) - 1)
        return {
            "artifact": {"id": number, "state": "PENDING", "artifactSequence": {"id": number, "latestArtifact": None}}
        }

    def _answer_createArtifactManifest(self, asked: Mapping[str, Any]) -> Any:
        return self._manifest(asked["artifactID"])

    def _answer_updateArtifactManifest(self, asked: Mapping[str, Any]) -> Any:
        return self._manifest(asked["artifactManifestID"])

    def _manifest(self, number: str) -> dict[str, Any]:
        file = {"id": number, "uploadUrl": f"{self.url}/artifact/{number}/manifest.json", "uploadHeaders": []}
        return {"artifactManifest": {"id": number, "file": file}}

    def _answer_createArtifactFiles(self, asked: Mapping[str, Any]) -> Any:
        wanted = asked["input"]["artifactFiles"] if "input" in asked else asked["artifactFiles"]
        nodes = [
            {"storagePath": file["name"], "uploadHeaders": [], "uploadMultipartUrls": None,
             "uploadUrl": f"{self.url}/artifact/{file['artifactID']}/{quote(file['name'])}",
             "artifact": {"id": file["artifactID"]}}
            for file in wanted
        ]  # fmt: skip
        return {"files": {"edges": [{"node": node} for node in nodes]}}

    def _answer_commitArtifact(self, asked: Mapping[str, Any]) -> Any:
        artifact = self.artifacts[int(asked["artifactID"])]
        artifact["state"] = "COMMITTED"
        return {"artifact": {"id": asked["artifactID"], "digest": artifact["digest"]}}

    # ── sweeps ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _answer_project(self, asked: Mapping[str, Any]) -> Any:
        sweep = self.sweeps.get(asked.get("sweep"))
        shown = None
        if sweep is not None:
            shown = {"id": sweep.id, "name": sweep.id, "state": "RUNNING", "config": sweep.config}
            shown |= {"controller": None, "scheduler": None, "runs": {"edges": []}}
        return {"sweep": shown, "artifact": None, "artifactType": None, "id": "project"}

    def _answer_upsertSweep(self, asked: Mapping[str, Any]) -> Any:
        sweep = LiveSweep(f"sweep{len(self.sweeps)}", asked["config"])
        self.sweeps[sweep.id] = sweep
        project = {"id": "project", "name": asked["projectName"], "entity": {"id": "entity", "name": ENTITY}}
        return {"sweep": {"name": sweep.id, "project": project}, "configValidationWarnings": []}

    def _answer_createAgent(self, asked: Mapping[str, Any]) -> Any:
        return {"agent": {"id": asked["sweep"]}}

    def _answer_agentHeartbeat(self, asked: Mapping[str, Any]) -> Any:
        """Hand out the next job once the last has ended, and send the agent home after the last."""
        sweep, commands = self.sweeps[asked["id"]], []
        if not json.loads(asked["runState"]):
            if len(sweep.handed_out) < len(sweep.jobs):
                run = f"{sweep.id}job{len(sweep.handed_out)}"
                values = {key: {"value": value} for key, value in sweep.jobs[len(sweep.handed_out)].items()}
                program = yaml.safe_load(sweep.config)["program"]
                commands = [{"type": "run", "run_id": run, "program": program, "args": values, "id": run}]
                sweep.handed_out.append(run)
            else:
                commands = [{"type": "exit", "id": "exit"}]
        return {"agent": {"id": sweep.id}, "commands": json.dumps(commands)}


def _type(name: str) -> dict[str, Any]:
    names = [{"name": known} for known in TYPES.get(name, ())]
    return {"name": name, "fields": names, "inputFields": names}
