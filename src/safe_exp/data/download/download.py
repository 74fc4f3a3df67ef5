"""Scheduling of a download: many addresses at once, few from one host, each once."""

import asyncio
import logging
import operator
import urllib.request
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from safe_exp.config.download import DownloadConfig
from safe_exp.data.download.fetch import Again, Fetcher, NotFetched, parse_host
from safe_exp.data.download.folder import Downloaded, DownloadFolder, Failed
from safe_exp.data.download.progress import DownloadProgress
from safe_exp.system.files import short_path

log = logging.getLogger(__name__)

READ_AHEAD = 1_000  # addresses that wait for a free place: more than the backlog of one slow host
READ_AT_ONCE = 100  # requests; between them the downloads in flight get their turn
TICK_SECONDS = 0.25  # between two updates of the progress while nothing arrives


@dataclass(frozen=True)
class ImageRequest:
    """An image to be fetched for an article."""

    key: str  # the article's id
    url: str


def download_images(
    requests: Iterable[ImageRequest], folder: Path, config: DownloadConfig
) -> dict[str, Downloaded | Failed]:
    """Fetch the images that are not in `folder` yet; find for each key its file, or the reason why there is none.

    A download that is stopped at any moment loses only the images in flight; the same call goes on from there. Requests
    are read as places become free, so they may come from a generator. One process at a time works on a folder; a second
    one waits.

    Returns:
        One entry for each key, in the order of the requests. An address that several keys name is fetched once.
    Raises:
        UserError: the folder cannot be written to.
        ValueError: two requests have one key.
    """
    _warn_of_proxies()
    folder = Path(folder)
    with DownloadFolder(folder, config.max_bytes) as store:
        try:
            return asyncio.run(_Download(store, config, operator.length_hint(requests) or None).run(iter(requests)))
        except KeyboardInterrupt:
            log.info("Stopped. The images in %s are kept; the same command goes on from there.", short_path(folder))
            raise


def _warn_of_proxies() -> None:
    if proxies := [name for name in ("http", "https", "all") if name in urllib.request.getproxies()]:
        log.warning(
            "The environment names a proxy for %s. It is not used: images are fetched directly, since a proxy would "
            "look up names itself and addresses inside this network could not be told from others.",
            ", ".join(proxies),
        )


class _Download:
    """Queues between the requests, which are read as needed, and the few tasks that run at a time."""

    def __init__(self, store: DownloadFolder, config: DownloadConfig, total: int | None) -> None:
        self.store, self.config = store, config
        self.progress = DownloadProgress(total)
        self.urls: dict[str, str] = {}  # by key
        self.outcomes: dict[str, Downloaded | Failed | None] = {}  # by address; None while it waits or is in flight
        self.queues: dict[str, deque[str]] = {}  # addresses that wait, by host
        self.waiting = 0  # in all queues together
        self.in_flight: Counter[str] = Counter()  # by host
        self.running: set[asyncio.Task[None]] = set()

    async def run(self, requests: Iterator[ImageRequest]) -> dict[str, Downloaded | Failed]:
        # Names are looked up in threads. By default there are a few for each core, which slow name servers would block.
        pool = ThreadPoolExecutor(max_workers=self.config.concurrency, thread_name_prefix="download")
        asyncio.get_running_loop().set_default_executor(pool)
        more = True
        with self.progress:
            async with Fetcher(self.config) as fetcher:
                try:
                    while more or self.waiting or self.running:
                        more = more and self._read(requests)
                        self._start(fetcher)
                        self.progress.show_if_due()
                        await self._settle(0 if more and self.waiting < READ_AHEAD else TICK_SECONDS)
                finally:
                    for task in self.running:
                        task.cancel()
                    await asyncio.gather(*self.running, return_exceptions=True)
        return {key: self.outcomes[url] for key, url in self.urls.items()}

    def _read(self, requests: Iterator[ImageRequest]) -> bool:
        """Read a few more requests and settle or queue them; return False at the end of the requests."""
        for _ in range(READ_AT_ONCE):
            if self.waiting >= READ_AHEAD:
                return True
            request = next(requests, None)
            if request is None:
                return False
            if request.key in self.urls:
                raise ValueError(f"two requests have the key {request.key}")
            url = request.url.strip()
            self.urls[request.key] = url
            if url in self.outcomes:
                self.progress.count_repeated()
            else:
                self._take(url)
        return True

    def _take(self, url: str) -> None:
        self.outcomes[url] = None
        try:
            host = parse_host(url)
        except NotFetched as error:
            self._record(url, Failed(url, error.reason, error.detail, final=True))
            return
        if (settled := self.store.look_up(url)) is not None:
            self._record(url, settled)
            return
        self.queues.setdefault(host, deque()).append(url)
        self.waiting += 1

    def _start(self, fetcher: Fetcher) -> None:
        """Start waiting addresses, host by host, as far as the bounds allow."""
        for host, queue in list(self.queues.items()):
            while queue and len(self.running) < self.config.concurrency and self._has_place(host):
                self.in_flight[host] += 1
                self.waiting -= 1
                self.running.add(asyncio.create_task(self._fetch(queue.popleft(), host, fetcher)))
            if not queue:
                del self.queues[host]
            if len(self.running) >= self.config.concurrency:
                return

    def _has_place(self, host: str) -> bool:
        return self.in_flight[host] < self.config.per_host

    async def _settle(self, seconds: float) -> None:
        """Wait until a task is done, but no longer than `seconds`."""
        if not self.running:
            await asyncio.sleep(0)  # lets Ctrl-C through
            return
        done, self.running = await asyncio.wait(self.running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a programming error, or one of the disk, ends the download

    async def _fetch(self, url: str, host: str, fetcher: Fetcher) -> None:
        try:
            content = await fetcher.fetch(url)
            self._record(url, await asyncio.to_thread(self.store.add, url, content), len(content))
        except NotFetched as error:
            failed = Failed(url, error.reason, error.detail, final=error.again is Again.never)
            if failed.final:
                self.store.remember(failed)
            self._record(url, failed)
        finally:
            self.in_flight[host] -= 1

    def _record(self, url: str, outcome: Downloaded | Failed, size: int = 0) -> None:
        self.outcomes[url] = outcome
        self.progress.count(outcome, size)
