import gzip
import json
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from safe_exp.config.data import LabelsConfig
from safe_exp.data.reading.articles import Article
from safe_exp.data.reading.readers.table import ColumnsConfig, TableReader
from safe_exp.data.reading.table_formats import parse_row
from safe_exp.system.errors import UserError
from tests.data.reading.readers.test_table import COLUMNS, LABELS, reader

ROWS = [{"id": f"a{n}", "text": f"some words {n}", "label": ("fake", "real")[n % 2]} for n in range(5)]
PICTURE = b"\xff\xd8\xff\xe0" + bytes(range(256))


def read(root, records=None, **columns):
    source = TableReader(str(root), ColumnsConfig(**(COLUMNS | columns)), LABELS, None, True, records=records)
    return [source.read(item) for item in source.items()]


def ids(found):
    assert all(isinstance(item, Article) for item in found), found
    return [item.id for item in found]


@pytest.mark.parametrize("name", ["t.json", "t.json.gz", "t.jsonl"])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_array_is_read_wherever_it_stands(tmp_path, name, indent, encoding):
    opened = gzip.open if name.endswith(".gz") else open
    for content, records in (
        (ROWS, None),
        ({"info": {"n": [1, {"a": "]"}]}, "all": ROWS, "more": 1}, "all"),
        ({"data": {"x": 1, "all": ROWS}}, "data.all"),
    ):
        with opened(tmp_path / name, "wb") as file:
            file.write(json.dumps(content, indent=indent).encode(encoding))
        assert ids(read(tmp_path / name, records)) == ["a0", "a1", "a2", "a3", "a4"]


def test_json_lines_in_wide_characters_are_read(tmp_path):
    (tmp_path / "t.jsonl").write_bytes("\n".join(map(json.dumps, ROWS)).encode("utf-16"))
    assert len(ids(read(tmp_path / "t.jsonl"))) == 5


@pytest.mark.parametrize(
    ("content", "records", "message"),
    [
        ({"info": 1, "annotations": ROWS}, None, r"is one JSON object\..*data\.records=annotations"),
        ({"annotations": ROWS}, "rows", r"data\.records=rows: there is no key rows\. There are annotations"),
        ({"annotations": {"a": 1}}, "annotations", r"expected an array .* there, found '\{'"),
        (ROWS, "annotations", r"data\.records=annotations: the file holds no object with keys"),
        ({"a": [1]}, "a.b", r"data\.records=a\.b: a holds no object with keys"),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_key_that_holds_no_array_is_told_with_those_that_do(tmp_path, content, records, message, indent):
    (tmp_path / "t.json").write_text(json.dumps(content, indent=indent))
    with pytest.raises(UserError, match=message):
        read(tmp_path / "t.json", records)


def test_bytes_of_another_encoding_in_an_array_are_told_text_by_text(tmp_path):
    (tmp_path / "t.json").write_bytes(
        '[{"text": "größer und schöner", "label": "fake"}, {"text": "'.encode()
        + b'caf\xe9 au lait et bien plus", "label": "real"}]'
    )
    assert [item.text for item in read(tmp_path / "t.json")] == ["größer und schöner", "café au lait et bien plus"]


def shards(folder, *parts, suffix="csv"):
    for number, rows in enumerate(parts):
        path = folder / f"part-{number}.{suffix}"
        if suffix == "csv":
            path.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]) + "\n")
        else:
            pq.write_table(pa.Table.from_pylist(rows), path)
    return folder / f"part-*.{suffix}"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_several_files_are_one_table_in_the_order_of_their_names(tmp_path, suffix):
    assert ids(read(shards(tmp_path, ROWS[:2], ROWS[2:], suffix=suffix))) == ["a0", "a1", "a2", "a3", "a4"]
    found = read(shards(tmp_path, ROWS[:2], ROWS[2:], suffix=suffix), id=None)
    assert ids(found) == [f"part-{part}.{suffix} row {row}" for part, row in ((0, 1), (0, 2), (1, 1), (1, 2), (1, 3))]
    assert all(item.made_up_id for item in found)
    (alone, _) = read(tmp_path / f"part-0.{suffix}", id=None)
    assert (alone.id, alone.made_up_id) == ("row 1", True)
    assert not read(tmp_path / f"part-0.{suffix}")[0].made_up_id


def test_a_bad_row_among_several_files_names_its_file(tmp_path):
    pattern = shards(tmp_path, ROWS[:2], ROWS[2:])
    (tmp_path / "part-1.csv").write_text("id,text,label\na2,x\na3,y,fake\n")
    left = [item for item in read(pattern) if not isinstance(item, Article)]
    assert [(item.path, item.detail) for item in left] == [("part-1.csv row 1", "line 2: 2 cells, expected 3")]


def test_files_of_one_table_have_the_same_columns(tmp_path):
    pattern = shards(tmp_path, ROWS[:2], [row | {"source": "paper"} for row in ROWS[2:]])
    with pytest.raises(UserError, match=r"part-1\.csv has a column source, part-0\.csv has none"):
        read(pattern)
    assert len(read(pattern, source=None)) == 5
    (tmp_path / "part-1.csv").write_text("id,body,label\n")
    with pytest.raises(UserError, match=r"there is no column title or text.*The file is part-1\.csv"):
        read(pattern)


def test_folders_and_patterns_without_a_file_are_refused_with_advice(tmp_path):
    with pytest.raises(UserError, match=r"is a folder; data=fakenewsnet reads those.*a pattern, as in '.*\*\.parquet'"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"t-\*\.csv: no file has such a name"):
        read(tmp_path / "t-*.csv")
    (tmp_path / "t[1].csv").write_text("id,text,label\na,x,fake\n")
    assert ids(read(tmp_path / "t[1].csv")) == ["a"]  # a name that looks like a pattern


def test_keys_of_other_formats_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("id,text,label\na,x,fake\n")
    (tmp_path / "t.json").write_text("[]")
    with pytest.raises(UserError, match=r"data\.records=all has no meaning for t\.csv; it is for \.jsonl"):
        read(tmp_path / "t.csv", records="all")
    source = TableReader(str(tmp_path / "t.json"), ColumnsConfig(**COLUMNS), LABELS, None, True, dialect="tab-quoted")
    with pytest.raises(UserError, match=r"data\.dialect=tab-quoted has no meaning for t\.json; it is for \.csv"):
        list(source.items())


def test_pictures_in_a_table_come_through_unharmed_and_texts_as_bytes_are_read(tmp_path):
    rows = [{"text": b"caf\xe9 au lait et bien plus", "label": b"fake", "image": {"bytes": PICTURE, "path": "a.jpg"}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    source = reader(tmp_path / "t.parquet")
    ((number, content),) = source.items()
    cells = parse_row(number, content)
    assert cells == {"text": "café au lait et bien plus", "label": "fake", "image": {"bytes": PICTURE, "path": "a.jpg"}}
    assert source.read((number, content)).label == 1


def test_a_signature_changes_with_each_cell_and_is_the_same_again(tmp_path):
    source = reader(tmp_path / "t.parquet")
    base = {"text": "a", "label": "fake", "image": {"bytes": PICTURE, "path": None}}
    others = [
        base,
        base | {"text": "b"},
        base | {"image": {"bytes": PICTURE + b"x", "path": None}},
        base | {"image": PICTURE},
        {"text": "ab"},
        {"texta": "b"},
    ]
    signatures = [json.dumps(source.signature((1, row))) for row in others]
    assert len(set(signatures)) == len(others)
    assert signatures == [json.dumps(source.signature((1, dict(row)))) for row in others]
    assert json.dumps(source.signature(("t.parquet row 1", base))) not in signatures


def test_parquet_that_holds_fewer_rows_than_it_says_is_refused(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    (length,) = struct.unpack("<I", content[-8:-4])
    (tmp_path / "t.parquet").write_bytes(content[: -length - 8] + content[-length - 8 :][: length // 2])
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read(tmp_path / "t.parquet")


def test_labels_of_each_type_are_read_from_parquet(tmp_path):
    for labels in ([True, False], [1, 0], [1.0, 0.0], ["1.0", "0"], [["1"], ["0"]]):
        pq.write_table(pa.table({"text": ["a", "b"], "label": labels}), tmp_path / "t.parquet")
        found = reader(tmp_path / "t.parquet", labels=LabelsConfig(fake=[1], real=[0]))
        assert [found.read(item).label for item in found.items()] == [1, 0]
