"""Parquet tables of articles whose pictures, one or several, lie in the table; and a data module of such articles."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from safe_exp.config import CaptionerConfig, DataConfig, VectorsConfig
from safe_exp.data.datamodule import FakeNewsNetDataModule
from tests.data.damage import encoded, picture
from tests.data.folders import PREPARED
from tests.made import compose_config

PATCHES = 5  # of captioner.grids=[2,1]
WORDS = ("captioner=visual_words", "captioner.grids=[2,1]", "captioner.words=9")


def picture_bytes(number: int) -> bytes:
    return encoded(picture(seed=number), "PNG")


def write_table(path: Path, galleries: Sequence[Sequence[int | None]]) -> Path:
    """Write a Parquet table with the pictures of each article, by their numbers, as Hugging Face stores them."""

    def cell(number):
        return {"bytes": b"no image" if number is None else picture_bytes(number), "path": f"{number}.png"}

    rows = [
        {"id": f"a{row}", "label": "fake" if row % 2 else "real", "text": f"body number {row} " * (1 + row % 5),
         "image": [cell(number) for number in numbers]}
        for row, numbers in enumerate(galleries)
    ]  # fmt: skip
    kinds = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    fields = [(name, kinds if name == "image" else pa.string()) for name in rows[0]]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(fields)), path)
    return path


def table_config(path: Path, *overrides: str) -> tuple[DataConfig, CaptionerConfig]:
    config = compose_config("data=table", f"data.root={path}", *WORDS, "data.workers=1", *overrides)
    return replace(config.data, prepared=str(path.parent / "prepared")), config.captioner


# By article; None: no image. Of two pictures that are the same one counts.
GALLERIES = [[3, 1, 2], [None, 4], [], [5], [6, None, 7, 8], [None, None], [9, 9]]


@cache
def single_pictures() -> FakeNewsNetDataModule:
    """Set up a data module of 40 articles, of which article n has picture n alone."""
    data, captioner = table_config(write_table(Path(PREPARED) / "single.parquet", [[number] for number in range(40)]))
    module = FakeNewsNetDataModule(data, captioner, VectorsConfig(path=None, dim=8, seed=0), seed=0)
    module.prepare_data()
    module.setup()
    return module
