"""The prepared data set that the jobs of a sweep share in one process: its input is listed and checked once."""

from __future__ import annotations

from dataclasses import fields

from safe_exp.config import CaptionerConfig, DataConfig
from safe_exp.data.prepared.prepare import prepare
from safe_exp.data.prepared.store import PreparedArticles
from safe_exp.data.text import Cutting

# Settings of the split, of batches and of the vocabulary, in which jobs differ that read the same articles.
LATER_SETTINGS = (
    "val_fraction", "test_fraction", "folds", "fold", "seed", "dates", "drop_leaks", "drop_repeated", "require",
    "batch_size", "min_frequency",
)  # fmt: skip


class _Shared:
    """The data set of the last job, if the jobs of this process share it."""

    on = False
    key: str | None = None
    prepared: PreparedArticles | None = None


def share_between_jobs(on: bool) -> None:
    """Let the coming jobs of this process share prepared data sets, or each look at its input again."""
    _Shared.on = on
    if not on:
        _Shared.key = _Shared.prepared = None


def prepare_or_share(data: DataConfig, captioner: CaptionerConfig, cutting: Cutting) -> PreparedArticles:
    """Prepare the articles as `prepare` does, or return those of the job before, if jobs share them and it read these.

    Raises:
        UserError: as `prepare`.
    """
    if not _Shared.on:
        return prepare(data, captioner, cutting=cutting)
    read = {field.name: getattr(data, field.name) for field in fields(data) if field.name not in LATER_SETTINGS}
    key = repr((read, captioner, cutting))
    if _Shared.key != key or _Shared.prepared is None:
        _Shared.key, _Shared.prepared = None, prepare(data, captioner, cutting=cutting)
        _Shared.key = key
    return _Shared.prepared
