"""A server that misbehaves, and an internet that leads to it."""

from collections.abc import Iterator

import pytest

from safe_exp.data.download import fetch
from tests.data.download.image_server import ImageServer, Internet


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageServer]:
    monkeypatch.setattr(fetch, "FIRST_WAIT", 0.01)
    server = ImageServer()
    yield server
    server.close()


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch, server: ImageServer) -> Internet:
    internet = Internet(monkeypatch)
    internet.names["public.example"] = [["93.184.216.34"]]
    return internet
