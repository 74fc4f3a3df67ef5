"""The built-in data set: made on first use, in FakeNewsNet's layout, and read as FakeNewsNet is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING

from safe_exp.config import DataConfig
from safe_exp.config.checks import require_at_least
from safe_exp.config.data import LabelsConfig
from safe_exp.data.reading.readers import DataKind, readers
from safe_exp.data.reading.readers.fakenewsnet import FolderReader
from safe_exp.system.errors import UserError


@dataclass
class SyntheticDataConfig(DataConfig):
    """The built-in data set: the number of articles, and the strength of each of the two signals that tell a fake."""

    articles: int = MISSING  # half of them fake
    cue_strength: float = MISSING  # 0: cue words tell nothing; 1: they alone tell almost everything
    mismatch_strength: float = MISSING  # 0: pictures tell nothing; 1: nearly every fake's picture shows another scene

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("data.articles", self.articles, 20)
        for key in ("cue_strength", "mismatch_strength"):
            if not 0 <= getattr(self, key) <= 1:
                raise UserError(f"data.{key}={getattr(self, key)}: expected a number from 0 to 1.")


def _write(data: SyntheticDataConfig) -> Path:
    from safe_exp.data.synthetic import write_synthetic  # draws pictures

    return write_synthetic(data)


def _reader(data: SyntheticDataConfig, labels: LabelsConfig | None, caption_file: str | None) -> FolderReader:
    from safe_exp.data.synthetic import synthetic_folder

    return FolderReader(str(synthetic_folder(data)), labels, caption_file)


readers.add(DataKind("synthetic", SyntheticDataConfig, _reader, _write, items_are_ids=True))
