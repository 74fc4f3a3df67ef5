"""Offline W&B runs, read without W&B's own reader: LevelDB-style records of protocol buffers."""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

FILE_HEADER_BYTES = 7
BLOCK_BYTES = 32 * 1024
PIECE_HEADER = struct.Struct("<IHB")  # checksum, length, kind
WHOLE, LAST = 1, 4  # the kinds that end a record; 2 and 3 begin and continue one


@dataclass
class WandbRun:
    """Content of a run-<id>.wandb file."""

    id: str = ""
    name: str = ""
    group: str = ""
    project: str = ""
    resumed: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


def read_finished_run(path: Path, patience_seconds: float = 20) -> WandbRun:
    """Read the run once its exit status is in the file, which W&B's service closes a moment after `finish` returns."""
    deadline = time.monotonic() + patience_seconds
    while (run := read_wandb_run(path)).exit_code is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return run


def read_wandb_run(path: Path) -> WandbRun:
    run = WandbRun()
    for record in read_records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found = record.run
            run.id, run.name, run.group = found.run_id, found.display_name, found.run_group
            run.project, run.resumed = found.project, found.resume
            run.config |= plain(found.config.update)
        elif kind == "config":
            run.config |= plain(record.config.update)
        elif kind == "history":
            run.history.append(plain(record.history.item))
        elif kind == "summary":
            run.summary |= plain(record.summary.update)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def read_records(path: Path) -> Iterator[Record]:
    data, position, content = Path(path).read_bytes(), FILE_HEADER_BYTES, b""
    while position + PIECE_HEADER.size <= len(data):
        left_in_block = BLOCK_BYTES - position % BLOCK_BYTES
        if left_in_block < PIECE_HEADER.size:  # too little for a piece: padding
            position += left_in_block
            continue
        _, length, kind = PIECE_HEADER.unpack_from(data, position)
        position += PIECE_HEADER.size
        if position + length > len(data):  # still being written
            return
        content += data[position : position + length]
        position += length
        if kind in (WHOLE, LAST):
            record = Record()
            record.ParseFromString(content)
            content = b""
            yield record


def plain(items: Any) -> dict[str, Any]:
    """Return the JSON values of a record's items by key, nested keys joined by dots."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
