"""A web server on 127.0.0.1 that misbehaves as it is told, and an internet that leads to it."""

import asyncio
import io
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from safe_exp.config.download import DownloadConfig
from safe_exp.data.download import ImageRequest, download_images

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def picture(colour: int = 0, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (colour % 256, colour // 256, 0)).save(buffer, kind)
    return buffer.getvalue()


def answer(body: bytes, status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """Make a whole HTTP answer, after which the connection may be used again."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(target: str) -> bytes:
    return answer(b"", "302 Found", Location=target)


class ImageServer:
    """Web server that counts the requests for each path, and those that are open at a time.

    `answers[path]`: the bytes to send, a list of such for one request after another, or a coroutine function that
    writes an answer itself.
    """

    def __init__(self) -> None:
        self.answers: dict[str, bytes | list[bytes] | Answer] = {}
        self.asked: Counter[str] = Counter()
        self.headers: list[str] = []
        self.open = self.most_open = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def close(self) -> None:
        async def stop() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                self.headers.append(head)
                await self._respond(head.split()[1], writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()

    async def _respond(self, path: str, writer: asyncio.StreamWriter) -> None:
        self.asked[path] += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            found = self.answers.get(path, answer(b"", "404 Not Found"))
            if isinstance(found, list):
                found = found[min(self.asked[path], len(found)) - 1]
            if isinstance(found, bytes):
                writer.write(found)
                await writer.drain()
            else:
                await found(path, writer)
        finally:
            self.open -= 1


class Internet:
    """Names and public addresses for a test; the rule for addresses and all of aiohttp run as they are.

    Look-ups answer from `names`, and a connection to a `public` address goes to 127.0.0.1. `tried` lists the addresses
    of the connections made, `looked_up` the names, each time.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[list[str]]] = {}  # for one lookup after another; the last answer stays
        self.public = {"93.184.216.34"}
        self.tried: list[str] = []
        self.looked_up: list[str] = []
        self._connect = socket.socket.connect
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)
        monkeypatch.setattr(socket.socket, "connect", lambda sock, address: self._go(sock, address), raising=False)

    def _look_up(self, host, port, *arguments, **options):
        self.looked_up.append(host)
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self.names[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    def _go(self, sock, address):
        self.tried.append(address[0])
        return self._connect(sock, ("127.0.0.1", address[1]) if address[0] in self.public else address)


GOOD = answer(picture(), Content_Type="image/png")


def config(**values: Any) -> DownloadConfig:
    given = dict(concurrency=8, per_host=8, timeout_seconds=0.3, max_bytes=50_000, retries=0, allow_private=True)
    return DownloadConfig(**given | values)


def fetch_one(server: ImageServer, folder: Path, path="/a", url=None, **values):
    return download_images([ImageRequest("a", server.url(path) if url is None else url)], folder, config(**values))["a"]


def images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if len(path.stem) == 64)
