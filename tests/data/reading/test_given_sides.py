"""Roots of given sides, read as one data set: ids, sides, images and refusals, from the reader to the prepared data."""

import csv
import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from PIL import Image

from safe_exp.data.captioners.file import FileCaptionerConfig
from safe_exp.data.prepared import prepare
from safe_exp.data.prepared.parts import PartMaker
from safe_exp.data.prepared.prepare import Preparation
from safe_exp.data.reading import readers
from safe_exp.data.reading.articles import Article, LeftOut, read_side
from safe_exp.data.reading.given_sides import build_given_reader
from safe_exp.data.reading.readers import Part, TakesDownloads, build_reader
from safe_exp.data.reading.untrusted import UnusableArticle
from safe_exp.data.text import AT_SPACES
from safe_exp.system.errors import UserError
from tests.data.folders import folder_config, table_config, write_article, write_side_tables
from tests.made import compose_config

CAPTIONER = FileCaptionerConfig("file", "caption.txt")


def read(data, captioner=CAPTIONER):
    reader = build_given_reader(data, captioner)
    return [reader.read(item) for item in reader.items()]


@pytest.mark.parametrize(
    ("word", "side"),
    [("train", "train"), ("Training ", "train"), ("VALID", "val"), ("validate", "val"), ("validation", "val"),
     ("dev", "val"), ("test", "test"), ("testing", "test"), ("test_public", "test")],
)  # fmt: skip
def test_published_words_name_the_sides(word, side):
    assert read_side(word, "column split") == side


@pytest.mark.parametrize(
    ("word", "reason"), [("holdout", r"side is not train, val or test \('holdout' in column split"),
                         (" ", r"no side is given \(column split is empty")],
)  # fmt: skip
def test_other_words_and_empty_cells_are_reasons_to_leave_out(word, reason):
    with pytest.raises(UnusableArticle, match=reason):
        read_side(word, "column split")


def test_a_column_gives_each_row_its_side_and_rows_without_one_are_counted(tmp_path):
    table = tmp_path / "all.csv"
    words = ["Train", "dev", "TEST", "", "extra", "valid"]
    with table.open("w", newline="") as handle:
        csv.writer(handle).writerows(
            [["id", "text", "label", "subset"], *([f"a{n}", f"body {n}", "fake", w] for n, w in enumerate(words))]
        )
    data = table_config(table, "data.split=given", "data.columns.split=subset")
    found = read(data)
    assert [item.side if isinstance(item, Article) else item.reason for item in found] == [
        "train", "val", "test", "no side is given", "side is not train, val or test", "val",
    ]  # fmt: skip
    assert "'extra' in column subset" in found[4].detail
    prepared = prepare(data, CAPTIONER)
    assert len(prepared) + len(prepared.left_out) == len(words)
    assert prepared.sides == ["train", "val", "test", "val"]
    unread = prepare(table_config(table, "data.columns.split=subset"), CAPTIONER)  # data.split=random
    assert len(unread) == len(words)
    assert set(unread.sides) == {None}
    assert "split" not in unread.manifest["settings"]["columns"]


def test_a_column_that_is_named_and_absent_is_refused(tmp_path):
    table = write_side_tables(tmp_path, train=4)["train"]
    with pytest.raises(UserError, match="there is no column fold"):
        read(table_config(table, "data.split=given", "data.columns.split=fold"))


def test_three_tables_are_one_data_set_with_the_side_of_each_row_s_table(tmp_path):
    tables = write_side_tables(tmp_path, train=5, val=3, test=4)
    data = table_config(tables["train"], "data.split=given", val_root=tables["val"], test_root=tables["test"])
    prepared = prepare(data, CAPTIONER)
    expected = [(row["id"], side) for side, path in tables.items() for row in csv.DictReader(path.open(newline=""))]
    assert list(zip(prepared.ids, prepared.sides, strict=True)) == expected


def test_ids_that_repeat_on_another_side_get_its_name_in_front_and_on_one_side_are_left_out(tmp_path):
    rows = {"train": ["0", "1", "2", "1"], "test": ["0", "1", "9", "9"]}  # both files count from 0
    for side, ids in rows.items():
        lines = [f"{article_id},body {side} {n},real" for n, article_id in enumerate(ids)]
        (tmp_path / f"{side}.csv").write_text("\n".join(["id,text,label", *lines]))
    data = table_config(tmp_path / "train.csv", "data.split=given", test_root=tmp_path / "test.csv")
    prepared = prepare(data, CAPTIONER)
    assert prepared.ids == ["0", "1", "2", "test/0", "test/1", "9"]
    assert [(item.path, item.reason) for item in prepared.left_out] == [
        ("1", "id occurs before"), ("9", "id occurs before"),
    ]  # fmt: skip


def test_rows_and_folders_without_ids_of_their_own_are_named_by_side_and_place(tmp_path):
    for side in ("train", "test"):
        (tmp_path / f"{side}.csv").write_text(f"text,label\none {side},fake\ntwo {side},real\n,real\n")
        write_article(tmp_path / side, "fake/a")
        (tmp_path / side / "real" / "empty").mkdir(parents=True)
    tables = table_config(tmp_path / "train.csv", "data.split=given", test_root=tmp_path / "test.csv")
    assert [item.id if isinstance(item, Article) else item.path for item in read(tables)] == [
        "train/row 1", "train/row 2", "train/train.csv row 3", "test/row 1", "test/row 2", "test/test.csv row 3",
    ]  # fmt: skip
    folders = folder_config(tmp_path / "train", "data.split=given")
    found = read(replace(folders, test_root=str(tmp_path / "test")))
    assert [item.id if isinstance(item, Article) else item.path for item in found] == [
        "train/fake/a", "train/real/empty", "test/fake/a", "test/real/empty",
    ]  # fmt: skip
    assert [item.side for item in found if isinstance(item, Article)] == ["train", "test"]
    assert {item.reason for item in found if isinstance(item, LeftOut)} == {"no article file"}


def test_a_column_of_the_first_root_may_name_its_val_rows(tmp_path):
    (tmp_path / "a.csv").write_text("text,label,split\none,fake,train\ntwo,real,dev\n")
    (tmp_path / "b.csv").write_text("text,label,split\nthree,fake,train\n")  # its own column is not asked
    data = table_config(tmp_path / "a.csv", "data.split=given", test_root=tmp_path / "b.csv")
    assert [(item.id, item.side) for item in read(data)] == [
        ("train/row 1", "train"), ("train/row 2", "val"), ("test/row 1", "test"),
    ]  # fmt: skip


def test_moved_tables_keep_their_fingerprint_and_changed_ones_do_not(tmp_path):
    tables = write_side_tables(tmp_path / "here", train=5, val=3, test=4)

    def fingerprint(folder):
        data = table_config(
            folder / "train.csv", "data.split=given", val_root=folder / "val.csv", test_root=folder / "test.csv"
        )
        return prepare(data, CAPTIONER).fingerprint

    first = fingerprint(tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert fingerprint(tmp_path / "there") == first
    tables["test"].write_text(tables["test"].read_text().replace("body", "other"))
    assert fingerprint(tmp_path / "here") != first


def test_the_prepared_folder_knows_every_root(tmp_path):
    tables = write_side_tables(tmp_path, train=5, test=4)
    moved = shutil.copy2(tables["test"], tmp_path / "moved.csv")
    data = table_config(tables["train"], "data.split=given", test_root=tables["test"])
    folders = {Preparation(replace(data, test_root=str(path)), CAPTIONER).folder for path in (tables["test"], moved)}
    assert len(folders) == 2


def test_shares_of_several_roots_join_to_the_same_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "PART_ARTICLES", 4)
    tables = write_side_tables(tmp_path, train=9, val=4, test=6)
    data = table_config(tables["train"], "data.split=given", val_root=tables["val"], test_root=tables["test"])
    whole = prepare(replace(data, prepared=str(tmp_path / "one")), CAPTIONER)
    shared = replace(data, prepared=str(tmp_path / "two"), shards=2)
    for shard in (1, 0):
        preparation = Preparation(replace(shared, shard=shard), CAPTIONER)
        preparation.make(preparation.missing(shard))
    preparation = Preparation(shared, CAPTIONER)
    assert preparation.parts == 5
    preparation.join()
    joined = prepare(replace(shared, shards=None), CAPTIONER)
    assert joined.fingerprint == whole.fingerprint
    assert (joined.ids, joined.sides) == (whole.ids, whole.sides)


def test_messages_name_the_key_of_the_root(tmp_path):
    tables = write_side_tables(tmp_path, train=4, test=4)
    data = table_config(tables["train"], "data.split=given", test_root=tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"data\.test_root=.*none\.csv does not exist"):
        read(data)


@pytest.mark.parametrize("test_root", ["train.csv", "./train.csv", "."])
def test_roots_that_overlap_are_refused(tmp_path, test_root, monkeypatch):
    write_side_tables(tmp_path, train=4)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"data\.root=train\.csv and data\.test_root=.* overlap.*stand on two sides"):
        read(table_config("train.csv", "data.split=given", test_root=test_root))


def test_a_pattern_overlaps_with_the_files_that_it_matches(tmp_path, monkeypatch):
    write_side_tables(tmp_path, train=4, test=4)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="overlap"):
        build_given_reader(table_config("*.csv", "data.split=given", test_root="test.csv"), CAPTIONER)


def test_articles_that_are_made_have_no_other_roots(tmp_path):
    data = compose_config("data=synthetic", "data.split=given", f"data.test_root={tmp_path}/t").data
    with pytest.raises(UserError, match=r"data=synthetic makes its articles; data\.val_root and data\.test_root are"):
        build_given_reader(replace(data, root=str(tmp_path / "made"), articles=20), CAPTIONER)


def test_predict_reads_the_articles_of_the_first_root_whatever_their_side(tmp_path):
    (tmp_path / "a.csv").write_text("text,label,split\none,fake,train\ntwo,real,extra\n")
    reader = build_reader(table_config(tmp_path / "a.csv", "data.split=given"), CAPTIONER, labelled=False)
    assert [reader.read(item).side for item in reader.items()] == [None, None]


def image_roots(tmp_path):
    """Write one article with an image for each of two folders."""
    for side, colour in (("train", "red"), ("test", "blue")):
        folder = write_article(tmp_path / side, f"fake/{side}", caption=None)
        Image.new("RGB", (40, 30), colour).save(folder / "image.png")
    captioner = compose_config("captioner=visual_words").captioner
    data = folder_config(tmp_path / "train", "data.split=given")
    return replace(data, test_root=str(tmp_path / "test"), prepared=str(tmp_path / "prepared")), captioner


def test_images_of_every_root_are_read(tmp_path):
    prepared = prepare(*image_roots(tmp_path))
    assert prepared.ids == ["train/fake/train", "test/fake/test"]
    assert prepared.has_visual().all()


def test_an_image_of_another_root_and_one_of_no_root_are_not_read(tmp_path):
    data, captioner = image_roots(tmp_path)
    Image.new("RGB", (40, 30)).save(tmp_path / "outside.png")
    reader = build_given_reader(data, captioner)
    files = {"train": tmp_path / "test" / "fake" / "test" / "image.png", "test": tmp_path / "outside.png"}
    for side, inner in reader.readers.items():  # a reader that checks nothing by itself
        original = inner.read
        inner.read = lambda item, original=original, file=files[side]: replace(original(item), images=(file,))
    train, test = (reader.read(item) for item in reader.items())
    assert (train.images, train.no_visual) == ((), ("image file lies outside data.root", "image.png"))
    assert test.images == (tmp_path / "outside.png",)  # refused when it is opened:
    maker = PartMaker(reader, captioner, 10, 10, AT_SPACES, False, tmp_path / "cache", tmp_path)
    maker.make(Part(0, list(reader.items())))
    assert pq.read_table(maker.path(0))["no_visual"].to_pylist() == ["image file lies outside data.root"] * 2


def test_downloads_of_each_reader_are_those_of_all(tmp_path):
    data, captioner = image_roots(tmp_path)
    for side in ("train", "test"):
        (tmp_path / side / "fake" / side / "image.png").rename(tmp_path / f"{side}.png")
    reader = build_given_reader(data, captioner)
    for side, inner in reader.readers.items():
        assert isinstance(inner, TakesDownloads)
        inner.downloaded[f"fake/{side}"] = str(tmp_path / f"{side}.png")
    assert [reader.read(item).image.name for item in reader.items()] == ["train.png", "test.png"]
    maker = PartMaker(reader, captioner, 10, 10, AT_SPACES, False, tmp_path / "cache", tmp_path)
    maker.make(Part(0, list(reader.items())))
    assert pq.read_table(maker.path(0))["image_hash"].null_count == 0
