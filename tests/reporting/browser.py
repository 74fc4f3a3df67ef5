"""Headless Chromium, driven over its DevTools protocol on the loopback interface."""

import asyncio
import base64
import itertools
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0",
)  # fmt: skip
START_SECONDS = 60


class Page:
    """A page, with its requests to the network, its errors, and the values of scripts that run in it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.loaded = False

    async def call(self, method: str, **parameters):
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while (message := await self._next()).get("id") != number:
            pass
        assert "error" not in message, message
        return message["result"]

    async def open(self, path: Path, width: int, height: int = 900, dark: bool = False) -> None:
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        await self.resize(width, height, dark)
        await self.call("Page.navigate", url=path.resolve().as_uri())
        while not self.loaded:
            await self._next()

    async def resize(self, width: int, height: int = 900, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def answer(self, expression: str):
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def press(self, key: str) -> None:
        code = {"Enter": 13, "Tab": 9}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            about = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code} | text
            await self.call("Input.dispatchKeyEvent", **about)

    async def screenshot(self, path: Path) -> None:
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    async def _next(self) -> dict:
        message = await asyncio.wait_for(self._socket.receive_json(), START_SECONDS)
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.complaints.append(str(parameters))
        return message


def with_page(profile: Path, work) -> None:
    """Run the coroutine `work(page)` in a new browser with its profile in `profile`."""
    with _browser(profile) as port:
        asyncio.run(_run(port, work))


@contextmanager
def _browser(profile: Path):
    with open(profile.parent / "browser.log", "w+", encoding="utf-8") as log:
        process = subprocess.Popen([CHROMIUM, *QUIET, f"--user-data-dir={profile}", "about:blank"], stderr=log)
        try:
            yield _port(profile / "DevToolsActivePort", process)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _port(path: Path, process: subprocess.Popen) -> int:
    deadline = time.monotonic() + START_SECONDS
    while not (path.exists() and re.match(r"\d+\n", path.read_text())):
        assert process.poll() is None, "the browser ended at once"
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.05)
    return int(path.read_text().split()[0])


async def _run(port: int, work) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
            pages = [target for target in await response.json() if target["type"] == "page"]
        async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            await work(Page(socket))
