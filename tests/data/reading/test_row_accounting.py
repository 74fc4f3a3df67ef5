"""Twelve formats, each damaged in thirteen ways: rows read + rows left out = records written, and each row is its own.

The writer of the file counts the records. To add a reader: an entry in FORMATS with the function that writes its input.
"""

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from safe_exp.config.data import LabelsConfig
from safe_exp.data.reading.articles import Article
from safe_exp.data.reading.readers.fakenewsnet import FolderReader
from safe_exp.data.reading.readers.table import ColumnsConfig, TableReader
from safe_exp.system.errors import UserError

LABELS = LabelsConfig(fake=["fake"], real=["real"])
COLUMNS = {name: name for name in ("id", "title", "text", "label", "image", "caption", "source", "date")}
KEYS = ("id", "text", "label")
NUMBER, DAMAGED = 24, 9  # of the records, and the damaged one
WORDS = "city road water storm market police"
HUGE = 300_000  # csv's own limit is 131,072 characters

Row = dict[str, object]


def rows() -> list[Row]:
    """Make records whose words name them; some hold delimiters and line breaks."""
    found: list[Row] = []
    for number in range(NUMBER):
        inner = {0: WORDS, 1: "city, road; water\tstorm|market", 2: "a line,\nanother line"}[number % 3]
        text = f"u{number}z {inner} v{number}z"
        found.append({"id": f"a{number}", "text": text, "label": ("fake", "real")[number % 2]})
    return found


@dataclass
class Trial:
    """The records of a file, as they are written, and the damage to one of them."""

    rows: list[Row]
    damage: str


def one_line(row: Row, delimiter: str) -> Row:
    return row | {"text": re.sub(rf"[\n{re.escape(delimiter)}]", " ", str(row["text"]))}


def as_csv(row: Row, delimiter: str) -> str:
    line = io.StringIO(newline="")
    csv.writer(line, delimiter=delimiter, lineterminator="\n").writerow([row[key] for key in KEYS])
    return line.getvalue()


def unquoted(row: Row, delimiter: str) -> str:
    return delimiter.join(str(row[key]) for key in KEYS) + "\n"


def tear_text(record: str, damage: str, delimiter: str | None) -> str:
    """Damage the text of a record as it stands in the file; without a delimiter it is JSON."""
    begin, end = f"u{DAMAGED}z", f"v{DAMAGED}z"
    if damage == "stray quote":
        return record.replace(end, f'"{end}')
    if damage == "quote never closed":
        return record.replace(f'{end}"', end, 1) if delimiter is None else record.replace(begin, f'"{begin}', 1)
    if damage == "missing cell":
        kept, _, last = record.rpartition(delimiter or ",")
        return kept + ("}" if delimiter is None else "") + "\n" * last.endswith("\n")
    if damage == "extra cell":
        return record.replace("\n", f"{delimiter}more\n") if delimiter else record.replace("}", ', "more": [1]}')
    if damage == "empty lines":
        return record + "\n\n \n\r\n"
    if damage == "NUL byte":
        return record.replace(end, f"\0{end}\0")
    return record


def damaged_row(row: Row, damage: str) -> Row:
    """Damage the values of a record, before it is written."""
    text = str(row["text"])
    return row | {
        "huge cell": {"text": f"u{DAMAGED}z " + "word " * (HUGE // 5)},
        "repeated id": {"id": "a0"},
        "empty text": {"text": ""},
        "empty label": {"label": ""},
        "deep nesting": {"text": "[" * 5000 + text},
        "mixed line ends": {"text": text.replace(" ", "\r\n", 1)},
    }.get(damage, {})


DAMAGES = (
    "stray quote", "quote never closed", "missing cell", "extra cell", "empty lines", "NUL byte", "truncated",
    "other encoding", "huge cell", "mixed line ends", "repeated id", "empty text", "empty label", "deep nesting",
)  # fmt: skip
UNTORN = ("huge cell", "repeated id", "empty text", "empty label", "deep nesting")


def text_file(trial: Trial, write: Callable[[Row], str], delimiter: str | None, encoding: str = "utf-8") -> list[bytes]:
    """Write records as text, one after the other, with the damage to one of them."""
    pieces = []
    for number, row in enumerate(trial.rows):
        hit = number == DAMAGED
        text = write(damaged_row(row, trial.damage) if hit and trial.damage in UNTORN else row)
        if hit:
            text = tear_text(text, trial.damage, delimiter)
        if trial.damage == "mixed line ends" and number % 2 and text.endswith("\n"):
            text = text[:-1] + "\r\n"
        piece = text.encode(encoding)
        if hit and trial.damage == "other encoding":
            piece = piece.replace(f"v{DAMAGED}z".encode(encoding), b"caf\xe9 \x93quoted\x94 and more words")
        if trial.damage == "truncated" and number == NUMBER - 1:
            piece = piece[: len(piece) // 2 // 4 * 4]
        pieces.append(piece)
    return pieces


def delimited(delimiter: str, suffix: str, quoted: bool, encoding: str = "utf-8") -> Callable[[Trial, Path], str]:
    def write(trial: Trial, folder: Path) -> str:
        if not quoted:
            trial = replace(trial, rows=[one_line(row, delimiter) for row in trial.rows])
        cut = as_csv if quoted else unquoted
        head = delimiter.join(KEYS) + "\n"
        mark = "\ufeff" if encoding != "utf-8" else ""
        pieces = [
            (mark + head).encode(encoding),
            *text_file(trial, lambda row: cut(row, delimiter), delimiter, encoding),
        ]
        path = folder / f"t{suffix}"
        path.write_bytes(gzip.compress(b"".join(pieces)) if suffix.endswith(".gz") else b"".join(pieces))
        return str(path)

    return write


def json_row(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False)


def json_lines(trial: Trial, folder: Path) -> str:
    pieces = text_file(trial, lambda row: json_row(row) + "\n", None)
    (folder / "t.jsonl").write_bytes(b"".join(pieces))
    return str(folder / "t.jsonl")


def json_array(before: bytes, after: bytes) -> Callable[[Trial, Path], str]:
    def write(trial: Trial, folder: Path) -> str:
        pieces = text_file(trial, json_row, None)
        whole = before + b",\n".join(pieces) + (after if trial.damage != "truncated" else b"")
        (folder / "t.json").write_bytes(whole)
        return str(folder / "t.json")

    return write


def parquet_rows(trial: Trial) -> list[Row]:
    found = [dict(row) for row in trial.rows]
    hit = found[DAMAGED]
    text = str(hit["text"])
    hit.update(damaged_row(hit, trial.damage))
    hit.update(
        {
            "stray quote": {"text": f'{text} " more'},
            "quote never closed": {"text": f'"{text}'},
            "missing cell": {"label": None},
            "empty lines": {"text": f"{text}\n\n\n"},
            "NUL byte": {"text": f"{text}\0"},
        }.get(trial.damage, {})
    )
    return found


def parquet(shards: int) -> Callable[[Trial, Path], str]:
    def write(trial: Trial, folder: Path) -> str:
        found = parquet_rows(trial)
        texts: list[object] = [row["text"] for row in found]
        if trial.damage == "other encoding":  # as older writers store texts: bytes without a type
            texts = [str(text).encode() for text in texts]
            texts[DAMAGED] = f"u{DAMAGED}z ".encode() + b"caf\xe9 \x93quoted\x94 and more words"
        table = pa.table({"id": [r["id"] for r in found], "text": texts, "label": [r["label"] for r in found]})
        if trial.damage == "extra cell":
            table = table.append_column("more", pa.array([{"bytes": b"\xff\xd8", "path": "x"}] * len(found)))
        if trial.damage == "deep nesting":
            table = table.set_column(1, "text", pa.array([[[[text]]] for text in texts]))
        size = NUMBER // shards
        for shard in range(shards):
            path = folder / f"t-{shard:05d}-of-{shards:05d}.parquet"
            pq.write_table(table.slice(shard * size, size), path)
        if trial.damage == "truncated":
            path.write_bytes(path.read_bytes()[:-100])
        return str(folder / "t-*.parquet") if shards > 1 else str(path)

    return write


def folders(trial: Trial, folder: Path) -> str:
    for number, row in enumerate(trial.rows):
        hit = number == DAMAGED
        place = folder / "root" / str(row["label"]) / f"{number:03d}"
        place.mkdir(parents=True)
        row = damaged_row(row, trial.damage) if hit else row
        content = json_row(row)
        if hit:
            content = tear_text(content, trial.damage, None)
        piece = content.encode()
        if hit and trial.damage == "other encoding":
            piece = piece.replace(f"v{DAMAGED}z".encode(), b"caf\xe9 and more words")
        if hit and trial.damage == "truncated":
            piece = piece[: len(piece) // 2]
        (place / "news_article.json").write_bytes(piece)
    return str(folder / "root")


def read_table(root: str, records: str | None = None) -> list:
    reader = TableReader(root, ColumnsConfig(**COLUMNS), LABELS, None, True, records=records)
    return [reader.read(item) for item in reader.items()]


def read_folders(root: str) -> list:
    reader = FolderReader(root, LABELS, "caption.txt")
    return [reader.read(item) for item in reader.items()] + reader.stray()


FORMATS: dict[str, tuple[Callable[[Trial, Path], str], Callable[[str], list]]] = {
    "CSV": (delimited(",", ".csv", quoted=True), read_table),
    "CSV, semicolon": (delimited(";", ".csv", quoted=True), read_table),
    "TSV, unquoted": (delimited("\t", ".tsv", quoted=False), read_table),
    "text, pipe": (delimited("|", ".txt", quoted=False), read_table),
    "CSV, packed": (delimited(",", ".csv.gz", quoted=True), read_table),
    "CSV, UTF-16": (delimited(",", ".csv", quoted=True, encoding="utf-16-le"), read_table),
    "JSON lines": (json_lines, read_table),
    "JSON array": (json_array(b"[", b"]"), read_table),
    "JSON, a key": (
        json_array(b'{"info": {"n": [1]}, "data": {"all": [', b"]}}"),
        lambda root: read_table(root, "data.all"),
    ),
    "Parquet": (parquet(1), read_table),
    "Parquet, shards": (parquet(3), read_table),
    "folders": (folders, read_folders),
}
# Where no reading can be right, one message names the place. All else is read.
QUOTED = ("CSV", "CSV, semicolon", "CSV, packed", "CSV, UTF-16")
ARRAYS = ("JSON array", "JSON, a key")
REFUSED = {
    *((name, "quote never closed") for name in QUOTED),  # the text has the delimiter, the next row has marks
    *((name, damage) for name in ARRAYS for damage in ("stray quote", "quote never closed", "truncated")),
    *((name, "truncated") for name in ("Parquet", "Parquet, shards")),
}
USED = {"empty lines", "mixed line ends", "NUL byte", "other encoding", "repeated id", "huge cell"}  # are articles


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FORMATS)
def test_each_record_is_read_or_left_out_and_holds_its_own_words(tmp_path, name, damage):
    write, read = FORMATS[name]
    written = rows()
    root = write(Trial(written, damage), tmp_path)
    try:
        found = read(root)
    except UserError as error:
        refusal = str(error)
    else:
        refusal = None
    assert ((name, damage) in REFUSED) == (refusal is not None), refusal
    if refusal is not None:
        assert f"data.root={root}" in refusal
        return
    assert len(found) == len(written)
    seen = set()
    for item in found:
        if not isinstance(item, Article):
            assert item.reason
            continue
        names = set(map(int, re.findall(r"[uv](\d+)z", item.title_and_text)))
        assert len(names) == 1, item
        (number,) = names
        assert number not in seen
        seen.add(number)
        assert item.label == (1, 0)[number % 2]
        if number != DAMAGED and not (damage == "truncated" and number == NUMBER - 1):
            text = str(written[number]["text"])
            assert re.sub(r"\s|[\t;|]", "", item.text) == re.sub(r"\s|[\t;|]", "", text)
    lost = NUMBER - 1 if damage == "truncated" and name != "folders" else DAMAGED
    assert set(range(NUMBER)) - seen <= {lost}  # a bad row costs itself alone
    if damage in USED:
        assert lost in seen


def test_twelve_formats_meet_twelve_kinds_of_damage():
    assert len(FORMATS) >= 12
    assert len(DAMAGES) >= 12
