import csv
import gzip
import json
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from safe_exp.config.data import LabelsConfig
from safe_exp.data.reading.articles import Article
from safe_exp.data.reading.readers.table import ColumnsConfig, TableReader
from safe_exp.system.errors import UserError

LABELS = LabelsConfig(fake=["fake"], real=["real"])
COLUMNS = {name: name for name in ("id", "title", "text", "label", "image", "caption", "source", "date")}
ROWS = [
    {"id": "a", "title": "One", "text": "a body,\nof two lines", "label": "fake", "caption": "a boat",
     "source": "paper", "date": "2020-01-02", "image": "pictures/a.png"},
    {"id": "b", "title": "Two", "text": 'a "quoted" body', "label": "Real", "caption": "", "source": "", "date": "",
     "image": ""},
]  # fmt: skip


def reader(path, reads_captions=True, labels=LABELS, images=None, **columns):
    return TableReader(str(path), ColumnsConfig(**(COLUMNS | columns)), labels, images, reads_captions)


def read(path, **arguments):
    source = reader(path, **arguments)
    return [source.read(item) for item in source.items()]


def write(path, rows=ROWS):
    opened = gzip.open if path.suffix == ".gz" else open
    kind = path.name.split(".")[1]
    if kind in ("csv", "tsv"):
        with opened(path, "wt", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(rows[0]), delimiter="\t" if kind == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "jsonl":
        with opened(path, "wt", encoding="utf-8") as handle:
            handle.writelines(json.dumps(row) + "\n" for row in rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.csv.gz", "t.jsonl.gz"])
def test_every_kind_of_table_gives_the_same_articles(tmp_path, name):
    one, two = read(write(tmp_path / name))
    assert (one.id, one.label, one.title, one.text, one.caption, one.source, one.date) == (
        "a", 1, "One", "a body,\nof two lines", "a boat", "paper", "2020-01-02"
    )  # fmt: skip
    assert (two.id, two.label, two.text, two.caption, two.source, two.date) == (
        "b", 0, 'a "quoted" body', "", None, None
    )  # fmt: skip
    assert two.no_visual == ("no caption", "column caption is empty or absent")


def test_columns_and_labels_go_by_the_names_that_the_config_gives(tmp_path):
    rows = [{"verdict": 1, "body": "x"}, {"verdict": 0.0, "body": "y"}, {"verdict": None, "body": "z"}]
    labels = LabelsConfig(fake=["1"], real=["0"])
    names = dict(label="verdict", text="body", title=None, id=None)
    one, two, three = read(write(tmp_path / "t.parquet", rows), labels=labels, **names)
    assert (one.id, one.label, one.text) == ("row 1", 1, "x")
    assert (two.id, two.label, two.text) == ("row 2", 0, "y")
    assert (three.path, three.reason) == ("t.parquet row 3", "label is not one of data.labels")


def test_a_label_that_is_not_mapped_says_how_to_map_it(tmp_path):
    (found,) = read(write(tmp_path / "t.csv", [{"text": "x", "label": "1"}]))
    assert found.reason == "label is not one of data.labels"
    assert found.detail.startswith("'1' in column label; say which words are which, as in data.labels.fake=")


def test_parquet_words_that_are_no_utf_8_are_one_message(tmp_path):
    words = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\x80")])
    pq.write_table(pa.table({"text": words, "label": ["fake"]}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"cannot be read as Parquet .*utf-8"):
        read(tmp_path / "t.parquet")


def test_parquet_dates_and_booleans_are_read(tmp_path):
    rows = [{"text": "x", "label": True, "date": date(2020, 3, 1)}]
    (found,) = read(write(tmp_path / "t.parquet", rows), labels=LabelsConfig(fake=["true"], real=["false"]))
    assert (found.label, found.date) == (1, "2020-03-01")


def test_a_bad_row_costs_itself_alone(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(
        b"\xef\xbb\xbfid,text,label\n1,good,fake\n2,too few\n\n3,too,many,cells\n"
        b"4,caf\xe9 au lait et bien plus,real\n5,nul \x00 byte,fake\n6,,real\n"
    )
    found = read(path)
    assert [(item.id, item.text) for item in found if isinstance(item, Article)] == [
        ("1", "good"), ("4", "café au lait et bien plus"), ("5", "nul   byte")
    ]  # fmt: skip
    left = [(item.path, item.reason) for item in found if not isinstance(item, Article)]
    assert left == [
        ("t.csv row 2", "row has too few or too many cells"),
        ("t.csv row 4", "row has too few or too many cells"),
        ("t.csv row 7", "no title, no text and no image"),
    ]


def test_a_bad_json_line_costs_itself_alone(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"text": "a", "label": "fake"}\n{"text": \n\n[1]\n{"text": "b", "label": "real"}')
    found = read(path)
    assert [item.reason if not isinstance(item, Article) else item.text for item in found] == [
        "a", "row is not valid JSON", "row is not a JSON object", "b"
    ]  # fmt: skip
    assert found[1].path == "t.jsonl row 2"


def test_images_are_looked_for_below_their_folder_and_nowhere_else(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"x")
    (tmp_path / "secret.png").write_bytes(b"x")
    names = ["a.png", "../secret.png", str(tmp_path / "secret.png"), "none.png", "", "\x00", "x" * 5000]
    path = write(tmp_path / "t.parquet", [{"text": "t", "label": "fake", "image": name} for name in names])
    found = read(path, reads_captions=False, images=str(tmp_path / "pictures"))
    assert found[0].image == tmp_path / "pictures" / "a.png"
    assert [item.no_visual[0] for item in found[1:]] == [
        "image lies outside data.images", "image lies outside data.images", "no image file", "no image",
        "no image file", "no image file",
    ]  # fmt: skip
    (own,) = read(
        write(tmp_path / "u.csv", [{"text": "t", "label": "fake", "image": "secret.png"}]), reads_captions=False
    )
    assert own.image == tmp_path / "secret.png"  # the table's own folder


def test_the_delimiter_is_the_one_that_the_header_uses(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id;text;label\n1;a, b;fake\n")
    (found,) = read(path)
    assert found.text == "a, b"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, r"none\.csv does not exist .*Expected \.csv, \.tsv, \.txt, \.jsonl, \.json or"),
        ("t.xlsx", b"PK", r"does not say what kind of table"),
        ("t.csv", b"id,words\n1,x\n", r"there is no column label\. It has id, words\. .*data\.columns\.label=verdict"),
        ("t.csv", b"id,label\n1,fake\n", r"there is no column title or text"),
        ("t.csv", b"", r"it names no columns\. Is the file empty\?"),
        ("t.jsonl", b'{"body": "x"}\n', r"there is no column label\. It has body"),
        ("t.parquet", b"PAR1 no more", r"cannot be read as Parquet.*Is the file whole"),
        ("t.csv.gz", gzip.compress(b"id,text,label\n" * 9999)[:-20], r"cannot be read .*Is the file whole"),
        ("t.csv.gz", b"no gzip", r"cannot be read .*Is the file whole"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_advice(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path / name)


def test_a_column_that_was_named_must_be_there(tmp_path):
    path = write(tmp_path / "t.csv", [{"text": "x", "label": "fake"}])
    assert len(read(path)) == 1  # no id, title, image, caption, source, date: they may be absent
    with pytest.raises(UserError, match=r"there is no column byline"):
        read(path, source="byline")


def test_a_column_whose_name_differs_by_case_alone_is_not_passed_over(tmp_path):
    path = write(tmp_path / "t.csv", [{"title": "x", "Text": "y", "label": "fake"}])
    with pytest.raises(UserError, match=r"there is no column text, but Text\. Take it by data\.columns\.text=Text"):
        read(path)
    assert [article.text for article in read(path, text="Text")] == ["y"]
    assert [article.text for article in read(path, text=None)] == [""]


def test_a_folder_of_images_that_is_not_there_is_refused_and_a_missing_file_is_named(tmp_path):
    url = "https://images.invalid/x.jpg"
    path = write(tmp_path / "t.csv", [{"id": "7", "text": "x", "label": "fake", "image": url}])
    with pytest.raises(UserError, match=r"data\.images=.*gone: there is no such folder \(looked at"):
        read(path, images=str(tmp_path / "gone"), reads_captions=False)
    assert len(read(path, images=str(tmp_path / "gone"))) == 1  # captions need no images
    source = TableReader(str(path), ColumnsConfig(**COLUMNS), LABELS, None, False, image_pattern="{id}.jpg")
    (article,) = [source.read(item) for item in source.items()]
    reason, detail = article.no_visual
    assert reason == "no image file"
    assert detail.endswith("; data.download_images=true fetches it by its address")
    assert detail.startswith("expected 7.jpg below data.images (")


def test_the_signature_knows_the_row_and_its_image(tmp_path):
    path = write(tmp_path / "t.csv", [{"text": "x", "label": "fake", "image": "a.png"}])
    source = reader(path, reads_captions=False)
    (item,) = source.items()
    before = source.signature(item)
    (tmp_path / "a.png").write_bytes(b"x")
    assert source.signature(item) != before
    assert reader(path).signature(item) == reader(path).signature(item)
