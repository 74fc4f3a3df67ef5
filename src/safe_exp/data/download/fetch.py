"""Fetching one image from one address: time-outs, size limit, retries, and a reason to count by where it fails."""

import asyncio
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from types import SimpleNamespace

import aiohttp
from yarl import URL

from safe_exp.config.download import DownloadConfig
from safe_exp.data.download.addresses import AddressRefused, public_socket
from safe_exp.data.download.kinds import HEAD_BYTES, image_kind

HEADERS = {
    "User-Agent": "safe_exp (research on news and their images; asks for each image once)",
    "Accept": "image/jpeg, image/png, image/gif, image/webp, image/bmp, image/tiff",  # else some send AVIF
    "Accept-Encoding": "identity",  # images are compressed already, and a bomb needs someone to unpack it
}
MAX_REDIRECTS = 10
FIRST_WAIT = 0.5  # seconds before the first retry; doubled for each further one
LONGEST_WAIT = 60.0  # seconds; a server that asks for a longer pause is asked again by the next run
HOST_PATIENCE = 10  # attempts in a row without an answer, after which a host is not asked again in this run
CHUNK_BYTES = 1 << 16


class Again(Enum):
    """The time at which a failed address is worth another try."""

    now = "in this run and in the next"
    next_run = "in the next run"
    never = "never"


class NotFetched(Exception):
    """An address that gave no image; `reason` is a short fixed phrase to count by, `detail` tells what was found."""

    def __init__(self, reason: str, detail: str, again: Again) -> None:
        super().__init__(f"{reason} ({detail})")
        self.reason = reason
        self.detail = _printable(detail)
        self.again = again


@dataclass
class _Host:
    """State of a host during a run."""

    unanswered: int = 0  # attempts in a row
    closed_until: float = 0.0  # by time.monotonic(); end of the pause that it asked for


@dataclass
class _Attempt:
    """State of one attempt."""

    answered: bool = False  # by the host that the address names, if only with a redirect to a dead one


class Fetcher:
    """A session that fetches images: `async with Fetcher(config) as fetcher: content = await fetcher.fetch(url)`.

    Proxies named in the environment are not used: a proxy looks up names itself, beyond the rule in addresses.py.
    Cookies are not kept, and no password is read from ~/.netrc.
    """

    def __init__(self, config: DownloadConfig) -> None:
        self.config = config
        self._hosts: dict[str, _Host] = defaultdict(_Host)

    async def __aenter__(self) -> "Fetcher":
        seconds = self.config.timeout_seconds
        redirects = aiohttp.TraceConfig()
        redirects.on_request_redirect.append(_note_answer)
        self._session = aiohttp.ClientSession(
            headers=HEADERS,
            connector=aiohttp.TCPConnector(
                limit=self.config.concurrency,
                limit_per_host=self.config.per_host,  # also where redirects lead
                socket_factory=None if self.config.allow_private else public_socket,
            ),
            # A server that does not open the connection, or falls silent, is given up after half of the time.
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=seconds / 2, sock_read=seconds / 2),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            trace_configs=[redirects],
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    async def fetch(self, url: str) -> bytes:
        """Fetch the bytes of the image at `url`; they begin as an image of an allowed kind does.

        Raises:
            NotFetched: the address, the network or the server gave no such image.
        """
        host = self._hosts[parse_host(url)]
        for attempt in range(self.config.retries + 1):
            if host.unanswered >= HOST_PATIENCE:
                raise NotFetched("host does not answer", f"{HOST_PATIENCE} attempts in a row failed", Again.next_run)
            wait = max(host.closed_until - time.monotonic(), _backoff(attempt))
            if wait > LONGEST_WAIT:
                raise NotFetched("host asks for a long pause", f"of {wait:.0f} s", Again.next_run)
            await asyncio.sleep(wait)
            try:
                return await self._attempt(url, host)
            except NotFetched as error:
                if error.again is not Again.now or attempt == self.config.retries:
                    raise
        raise AssertionError("unreachable: retries >= 0")

    async def _attempt(self, url: str, host: _Host) -> bytes:
        attempt = _Attempt()
        try:
            async with self._session.get(url, max_redirects=MAX_REDIRECTS, trace_request_ctx=attempt) as response:
                attempt.answered = True
                _check_head(response, host, self.config.max_bytes)
                return await self._read(response)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            failure = _classify_error(error, self.config.timeout_seconds)
            if failure.again is Again.now and not attempt.answered:
                host.unanswered += 1
            raise failure from error
        finally:
            if attempt.answered:
                host.unanswered = 0

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        checked = False
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            content += chunk
            if len(content) > self.config.max_bytes:
                raise _too_large(self.config.max_bytes, "at least " + format(len(content), ","))
            if not checked and len(content) >= HEAD_BYTES:  # no need to wait for the rest of a page
                _check_kind(content, response)
                checked = True
        if not content:
            raise NotFetched("answer is empty", f"status {response.status}, no content", Again.never)
        _check_kind(content, response)
        return bytes(content)


async def _note_answer(session: aiohttp.ClientSession, context: SimpleNamespace, parameters: object) -> None:
    context.trace_request_ctx.answered = True


def parse_host(url: str) -> str:
    """Parse the host of a URL, in lower case, non-ASCII names in their ASCII form.

    Raises:
        NotFetched: it is no http or https URL with a host.
    """
    try:
        parsed = URL(url)
        host = parsed.raw_host
    except ValueError as error:
        raise NotFetched("address is not a valid URL", f"{url}: {error}", Again.never) from error
    if parsed.scheme not in ("http", "https"):
        raise NotFetched("address is not http or https", url, Again.never)
    labels = host.removesuffix(".").split(".") if host else [""]
    if len(host or "") > 253 or not all(0 < len(label) < 64 for label in labels):  # no name server could know it
        raise NotFetched("address is not a valid URL", f"{url}: no usable host", Again.never)
    return host


def _printable(text: str) -> str:
    """Make a text from elsewhere safe for a terminal: one line of at most 200 printable characters."""
    shown = "".join(character if character.isprintable() else "·" for character in text[:200])
    return shown + ("…" if len(text) > 200 else "")


def _check_head(response: aiohttp.ClientResponse, host: _Host, max_bytes: int) -> None:
    """Refuse an answer by its status and headers; note the pause that the host asks for.

    Raises:
        NotFetched: the status is not 200, or the answer is compressed or too large.
    """
    status = response.status
    if status == 429 or status >= 500:
        pause = retry_after_seconds(response.headers.get("Retry-After"))
        host.closed_until = max(host.closed_until, time.monotonic() + pause)
        reason = "too many requests" if status == 429 else "server error"
        raise NotFetched(reason, f"status {status}", Again.now)
    if status != 200:
        reason = {404: "not found", 410: "not found"}.get(status, "request was refused")
        raise NotFetched(reason, f"status {status}", Again.never)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise NotFetched("answer is compressed", f"Content-Encoding {encoding}, which was not asked for", Again.never)
    if response.content_length is not None and response.content_length > max_bytes:  # refusing needs no trust in it
        raise _too_large(max_bytes, f"{response.content_length:,}")


def _check_kind(content: bytes | bytearray, response: aiohttp.ClientResponse) -> None:
    """Refuse content that does not begin as an image of an allowed kind.

    Raises:
        NotFetched: its first bytes are those of a page or of another kind; the message gives them.
    """
    if image_kind(content[:HEAD_BYTES]) is None:
        found = "a page" if content.lstrip()[:1] == b"<" else f"it begins with {bytes(content[:8])!r}"
        called = response.headers.get("Content-Type", "nothing")
        raise NotFetched("not an image of an allowed kind", f"{found}; the server calls it {called}", Again.never)


def _too_large(max_bytes: int, found: str) -> NotFetched:
    return NotFetched("image is too large", f"{found} bytes, data.download.max_bytes={max_bytes}", Again.never)


def _classify_error(error: Exception, seconds: float) -> NotFetched:
    """Classify an error of the network or of aiohttp; the cases go from special to general."""
    cause = getattr(error, "os_error", None)
    what = str(error) or type(error).__name__
    match error:
        case _ if isinstance(cause, AddressRefused):
            return NotFetched(
                "address is not public", f"{cause.address}; data.download.allow_private=true allows it", Again.next_run
            )
        case aiohttp.TooManyRedirects():
            return NotFetched("too many redirects", f"more than {MAX_REDIRECTS}", Again.never)
        case aiohttp.NonHttpUrlRedirectClientError():
            return NotFetched("redirect to an address that is not http or https", what, Again.never)
        case aiohttp.InvalidURL():
            return NotFetched("address is not a valid URL", what, Again.never)
        case asyncio.TimeoutError():
            return NotFetched("time-out", f"{what}; data.download.timeout_seconds={seconds}", Again.now)
        case aiohttp.ClientConnectorDNSError():
            return NotFetched("host name is unknown", what, Again.now)
        case aiohttp.ClientSSLError():
            return NotFetched("no secure connection", what, Again.next_run)
        case aiohttp.ClientPayloadError():
            return NotFetched("connection broke off", what, Again.now)
        case aiohttp.ClientResponseError():
            return NotFetched("answer is not valid HTTP", what, Again.now)
        case aiohttp.ClientError() | OSError():
            return NotFetched("no connection", what, Again.now)
        case _:  # ValueError, UnicodeError: no name server could know such a host
            return NotFetched("address is not a valid URL", what, Again.never)


def _backoff(attempt: int) -> float:
    """Draw the seconds to wait before an attempt, 0 before the first; at random, so that retries spread."""
    return 0.0 if attempt == 0 else min(FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.5, 1.5), LONGEST_WAIT)


def retry_after_seconds(header: str | None) -> float:
    """Read the seconds that a Retry-After header asks for, as a number or a date; 0 if it is neither."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
