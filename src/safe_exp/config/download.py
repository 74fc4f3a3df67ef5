"""conf: data.download, how images are fetched from the addresses that a crawl has stored."""

from dataclasses import dataclass

from omegaconf import MISSING

from safe_exp.system.errors import UserError


@dataclass
class DownloadConfig:
    concurrency: int = MISSING  # images asked for at once; up to so many times max_bytes lie in memory
    per_host: int = MISSING  # of those, from one host
    timeout_seconds: float = MISSING  # for one attempt from the first redirect to the last byte
    max_bytes: int = MISSING  # a larger image is given up
    retries: int = MISSING  # further attempts after 429, 5xx, a broken connection or a time-out
    allow_private: bool = MISSING  # also ask addresses inside this network (127.0.0.1, 10.0.0.1, …): a mirror, say

    def __post_init__(self) -> None:
        self._require("concurrency", 1, 512)  # file descriptors: many systems allow a process 1,024
        self._require("per_host", 1, 512)
        self._require("timeout_seconds", 0.01, 3600)
        self._require("max_bytes", 1_000, 1_000_000_000)
        self._require("retries", 0, 10)

    def _require(self, key: str, least: float, most: float) -> None:
        value = getattr(self, key)
        if not least <= value <= most:  # `not` refuses NaN as well
            raise UserError(f"data.download.{key}={value}: expected a number from {least:,} to {most:,}.")
