"""Type of data.download: limits on fetching images from the addresses that a crawl stored."""

from dataclasses import dataclass

from omegaconf import MISSING

from safe_exp.system.errors import UserError


@dataclass
class DownloadConfig:
    """Limits on fetching images."""

    concurrency: int = MISSING  # images fetched at a time, 1 to 512; memory: up to max_bytes for each
    per_host: int = MISSING  # images fetched at a time from one host, 1 to 512
    timeout_seconds: float = MISSING  # limit of one attempt with its redirects, to the last byte; 0.01 to 3600
    max_bytes: int = MISSING  # size of the largest image that is kept, 1,000 to 1,000,000,000
    retries: int = MISSING  # further attempts after status 429 or 5xx, a broken connection or a timeout, 0 to 10
    allow_private: bool = MISSING  # true: also fetch from this network (127.0.0.1, 10.0.0.1, …), as from a mirror

    def __post_init__(self) -> None:
        self._require("concurrency", 1, 512)  # each needs a file descriptor, and many systems allow a process 1,024
        self._require("per_host", 1, 512)
        self._require("timeout_seconds", 0.01, 3600)
        self._require("max_bytes", 1_000, 1_000_000_000)
        self._require("retries", 0, 10)

    def _require(self, key: str, least: float, most: float) -> None:
        value = getattr(self, key)
        if not least <= value <= most:  # `not` refuses NaN as well
            raise UserError(f"data.download.{key}={value}: expected a number from {least:,} to {most:,}.")
