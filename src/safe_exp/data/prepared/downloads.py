"""Images that a crawl stored as addresses: download them, and tell the reader where they lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from safe_exp.config import DataConfig
from safe_exp.data.reading.articles import Article
from safe_exp.data.reading.readers import TakesDownloads

DOWNLOADS = "downloads"  # below data.prepared; shared by every data set whose articles name the same addresses


def downloads_folder(data: DataConfig) -> Path:
    """Return the resolved folder of downloads: outside of a resolved folder no image is read."""
    return (Path(data.prepared).expanduser() / DOWNLOADS).resolve()


def attach_downloads(readers: Sequence[TakesDownloads], data: DataConfig, fetch: bool) -> None:
    """Tell `readers` the downloaded image of each address without a file, or the reason why there is none.

    Args:
        readers: of all roots of the data set. Each after the first would find the folder that the first has made, and
            fetch nothing.
        fetch: download the images that are missing. Else only earlier downloads are used, so that a run does not wait
            for servers that were silent before; the first time, without a folder of downloads, images are fetched.
    Raises:
        UserError: the folder of downloads cannot be used.
    """
    # Takes time to import, and most data sets need no download.
    from safe_exp.data.download import DownloadFolder, Failed, ImageRequest, download_images

    folder = downloads_folder(data)
    fetch = fetch or not folder.is_dir()
    for reader in readers:
        if fetch:
            outcomes = download_images((ImageRequest(key, url) for key, url in _wanted(reader)), folder, data.download)
        else:
            with DownloadFolder(folder, data.download.max_bytes) as store:
                outcomes = {key: store.look_up(url) for key, url in _wanted(reader)}
        for key, outcome in outcomes.items():
            if outcome is None:
                reader.not_downloaded[key] = ("image not downloaded", "python -m safe_exp.prepare tries again")
            elif isinstance(outcome, Failed):
                reader.not_downloaded[key] = (outcome.reason, f"{outcome.url}: {outcome.detail}")
            else:
                reader.downloaded[key] = str(outcome.path)


def _wanted(reader: TakesDownloads) -> Iterator[tuple[str, str]]:
    """Yield key and address of each image that articles name by its address alone; each key once."""
    seen: set[str] = set()
    for item in reader.items():
        article = reader.read(item)
        found = reader.addresses(item, article) if isinstance(article, Article) else {}
        for key, address in found.items():
            if key not in seen:
                seen.add(key)
                yield key, address
