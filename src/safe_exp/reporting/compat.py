"""Private parts of wandb-workspaces that the dashboard needs; tests/reporting/test_compat.py fails when one changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any


def identify(workspace: Any, name: str, existing: Any = None) -> None:
    """Give a workspace the name that W&B stores it under, and the id of the one that it replaces.

    Needed because the library draws a new name for each new workspace, and cannot list those that there are: every call
    would leave another copy.
    """
    workspace._internal_name = name
    if existing is not None:
        workspace._internal_id = existing._internal_id


@contextmanager
def recorded(project: str) -> Iterator[list[dict[str, Any]]]:
    """Keep what `save` sends in the block in the list that is yielded; nothing is sent, and no account is needed.

    Needed because a report asks W&B for its project while it is converted.
    """
    import wandb

    sent: list[dict[str, Any]] = []

    def execute(query: str, variables: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        if "upsertView" not in query:
            return {"project": {"internalId": "0"}}
        sent.append(dict(variables))
        place = {"entityName": variables["entityName"], "name": variables["projectName"]}
        return {"upsertView": {"view": {**variables, "id": "id", "project": place}}}

    api = SimpleNamespace(
        _service_api=SimpleNamespace(execute_graphql=execute, app_url="https://wandb.ai"),
        client=SimpleNamespace(app_url="https://wandb.ai"),
        projects=lambda entity: [SimpleNamespace(name=project)],
    )
    library: Any = wandb
    before = library.Api, library.termlog
    library.Api, library.termlog = lambda: api, lambda *words, **_: None
    try:
        yield sent
    finally:
        library.Api, library.termlog = before
