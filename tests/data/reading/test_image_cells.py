"""Image cells of tables: paths, ids, patterns, addresses, contents; one picture or several; none outside the folder."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from safe_exp.config.data import LabelsConfig
from safe_exp.data.reading.articles import StoredPicture
from safe_exp.data.reading.image_cells import Address, ImageCells, LostImage, check_pattern
from safe_exp.data.reading.readers.table import ColumnsConfig, TableReader
from safe_exp.system.errors import UserError
from tests.data.damage import encoded, picture

LABELS = LabelsConfig(fake=["fake"], real=["real"])
COLUMNS = {name: name for name in ("id", "title", "text", "label", "image", "caption", "source", "date")}

PNG = encoded(picture(), "PNG")


@pytest.fixture
def folder(tmp_path):
    """A folder of pictures, in a folder with a file that is none of them."""
    folder = tmp_path / "pictures"
    for name in ("fake/x/0.jpg", "a.jpg", "b.PNG", "c.webp", "d.jpg", "d.png", "1.5", "7.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PNG)
    (tmp_path / "secret.jpg").write_bytes(PNG)
    return folder.resolve()


def find(folder, cell, pattern=None, separator=None, **row):
    cells = ImageCells(folder, {"id": "id", "image": "image"}, pattern, separator)
    return cells.find(row | {"image": cell}, 3)


def names(found, folder):
    """Give the paths below the folder, and the reasons of the pictures that are not there."""
    return [item.reason if isinstance(item, LostImage) else item.relative_to(folder).as_posix() for item in found]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a.jpg", ["a.jpg"]),
        (" a.jpg ", ["a.jpg"]),
        ("/fake/x/0.jpg", ["fake/x/0.jpg"]),  # the top of the folder, not of the machine
        ("fake\\x\\0.jpg", ["fake/x/0.jpg"]),
        ("\\fake\\x\\0.jpg", ["fake/x/0.jpg"]),
        ("./fake/../a.jpg", ["a.jpg"]),
        ("a", ["a.jpg"]),
        ("b", ["b.PNG"]),
        ("c", ["c.webp"]),
        ("d", ["d.jpg"]),  # of two endings the first in the list
        ("1.5", ["1.5"]),
        (7, ["7.jpg"]),
        (7.0, ["7.jpg"]),
        ("gone", ["no image file"]),
        ("a.png", ["no image file"]),  # an ending that is given is meant
        ("fake", ["no image file"]),  # a folder
        ("../secret.jpg", ["image lies outside data.images"]),
        ("/../secret", ["image lies outside data.images"]),
        ("..\\secret.jpg", ["image lies outside data.images"]),
        ("fake/../../secret.jpg", ["image lies outside data.images"]),
        ("x\x00.jpg", ["no image file"]),
        ("x" * 5000, ["no image file"]),
        ("\ud83d.jpg", ["no image file"]),
        ("", []),
        (None, []),
        ("null", []),
        (float("nan"), []),
    ],
)
def test_a_cell_names_a_picture_below_the_folder_or_none(folder, cell, expected):
    assert names(find(folder, cell), folder) == expected


def test_an_absolute_path_into_the_folder_is_one_and_another_is_outside(folder):
    assert names(find(folder, str(folder / "a.jpg")), folder) == ["a.jpg"]
    assert names(find(folder, str(folder.parent / "secret.jpg")), folder) == ["image lies outside data.images"]


def test_links_are_followed_inside_the_folder_alone(folder):
    (folder / "inside.jpg").symlink_to(folder / "a.jpg")
    (folder / "outside.jpg").symlink_to(folder.parent / "secret.jpg")
    (folder / "above").symlink_to(folder.parent)
    (folder / "circle.jpg").symlink_to(folder / "circle.jpg")
    assert names(find(folder, ["inside", "outside", "above/secret.jpg", "above/pictures/a.jpg", "circle"]), folder) == [
        "a.jpg", "a link leads outside data.images", "a link leads outside data.images", "no image file"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "separator", "expected"),
    [
        ("a,b", ",", ["a.jpg", "b.PNG"]),
        ("b | a|null||", "|", ["b.PNG", "a.jpg"]),
        ("a,a.jpg,a", ",", ["a.jpg"]),  # each once
        ("a,gone,b", ",", ["a.jpg", "no image file", "b.PNG"]),
        (["c.webp", None, "", "a.jpg"], None, ["c.webp", "a.jpg"]),
        ('["c.webp", "a.jpg"]', None, ["c.webp", "a.jpg"]),
        ("[a].jpg", None, ["no image file"]),
        ("[a]", None, ["no image file"]),
        ([["a.jpg"], ["b.PNG"]], None, ["a.jpg", "b.PNG"]),
    ],
)
def test_several_pictures_of_a_cell_keep_their_order(folder, cell, separator, expected):
    assert names(find(folder, cell, separator=separator), folder) == expected


def test_a_cell_that_looks_like_several_says_how_to_cut_it(folder):
    (lost,) = find(folder, "a,b")
    several = "if these are several images, data.image_separator=','"
    assert lost.detail == f"expected a,b.jpg or the like below data.images ({folder.name}); {several}"


@pytest.mark.parametrize(
    ("pattern", "row", "expected"),
    [
        ("{id}.jpg", {"id": "a"}, ["a.jpg"]),
        ("{id}", {"id": "b"}, ["b.PNG"]),
        ("{id}.jpg", {"id": 7}, ["7.jpg"]),
        ("{image}", {"image": "a"}, ["a.jpg"]),
        ("{image}.jpg", {"image": ["a", "d"]}, ["a.jpg", "d.jpg"]),
        ("{split}/x/{id}.jpg", {"id": "0", "split": "fake"}, ["fake/x/0.jpg"]),
        ("{id}.jpg", {"id": "../secret"}, ["image lies outside data.images"]),
        ("../{id}.jpg", {"id": "secret"}, ["image lies outside data.images"]),
        ("{id}.jpg", {"id": "gone"}, ["no image file"]),
        ("{id}.jpg", {"id": ""}, []),
        ("{id}.jpg", {"id": "gone", "image": "a.jpg"}, ["no image file"]),  # the pattern replaces the cell
    ],
)
def test_a_pattern_names_the_file_by_columns(folder, pattern, row, expected):
    assert names(find(folder, row.get("image"), pattern, **{"id": None} | row), folder) == expected


def test_a_file_wins_over_an_address_and_an_address_over_no_file(folder):
    url = "https://images.invalid/x.jpg"
    assert find(folder, url) == [Address(url)]
    assert names(find(folder, url, pattern="{id}.jpg", id="a"), folder) == ["a.jpg"]
    expected = f"expected gone.jpg below data.images ({folder.name})"
    assert find(folder, url, pattern="{id}.jpg", id="gone") == [Address(url, expected)]
    assert find(folder, f"{url},a", separator=",") == [Address(url), folder / "a.jpg"]


def test_contents_are_pictures_and_a_struct_without_them_is_a_path(folder):
    assert find(folder, {"bytes": PNG, "path": "of-theirs.png"}) == [StoredPicture("of-theirs.png", PNG)]
    assert find(folder, {"bytes": PNG, "path": None}) == [StoredPicture("row 3", PNG)]
    assert find(folder, {"bytes": b"", "path": None}) == [StoredPicture("row 3", b"")]  # counted as an empty file
    assert names(find(folder, {"bytes": None, "path": "a.jpg"}), folder) == ["a.jpg"]
    assert find(folder, {"bytes": None, "path": None}) == []
    assert find(folder, [{"bytes": PNG, "path": "1"}, {"bytes": PNG, "path": "2"}]) == [
        StoredPicture("1", PNG), StoredPicture("2", PNG)
    ]  # fmt: skip
    (lost,) = find(folder, {"href": "x"})
    assert lost == LostImage("image cell cannot be read", "row 3: expected a path, or bytes and path; found href")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{id.jpg", r"data\.image_pattern=\{id\.jpg: a brace has no partner.*'\{id\}\.jpg'"),
        ("id}.jpg", r"a brace has no partner"),
        ("all.jpg", r"all rows would have the same image\. Name a column in braces"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_refused(pattern, message):
    with pytest.raises(UserError, match=message):
        check_pattern(pattern)


def test_a_brace_that_names_no_column_is_refused_before_the_first_row(tmp_path):
    (tmp_path / "t.csv").write_text("id,text,label,kind\n1,x,fake,k\n", encoding="utf-8")

    def rows(pattern):
        columns = ColumnsConfig(**COLUMNS)
        return list(TableReader(str(tmp_path / "t.csv"), columns, LABELS, None, False, image_pattern=pattern).items())

    assert len(rows("{id}.jpg")) == len(rows("{kind}/{id}.jpg")) == 1
    for wrong in ("{tweet}.jpg", "{image}.jpg", "{}.jpg"):
        with pytest.raises(UserError, match=r"neither a column of the table nor .* one of id, text, label, kind\."):
            rows(wrong)


def table_reader(path, *arguments, **options):
    return TableReader(str(path), ColumnsConfig(**COLUMNS), LABELS, *arguments, reads_captions=False, **options)


def test_parquet_bytes_and_texts_in_other_encodings_are_told_apart(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    rows = [
        {"text": "a plain text über all".encode("cp1252"), "label": "fake", "image": PNG},
        {"text": b"plain", "label": "real", "image": b"a.png"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    reader = table_reader(tmp_path / "t.parquet", None)
    one, two = map(reader.read, reader.items())
    assert (one.text, one.images) == ("a plain text über all", (StoredPicture("row 1", PNG),))
    assert (two.text, two.images) == ("plain", (tmp_path / "a.png",))


def test_an_article_keeps_what_its_cell_names_and_what_is_lost(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    url = "http://images.invalid/b.png"
    (tmp_path / "t.csv").write_text(f"text,label,image\nx,fake,gone|a|{url}\ny,real,{url}\nz,real,\n", encoding="utf-8")
    reader = table_reader(tmp_path / "t.csv", None, image_separator="|")
    one, two, three = map(reader.read, reader.items())
    assert (one.images, one.image_urls, one.no_visual) == ((tmp_path / "a.png",), (url,), None)
    assert [reason for reason, _ in one.lost_images] == ["no image file", "image is an address"]
    assert two.no_visual == ("image is an address", f"{url}; data.download_images=true fetches it")
    assert three.no_visual == ("no image", "column image is empty or absent")
    reader = table_reader(tmp_path / "t.csv", None, image_separator="|", downloaded={url: "/cache/b.png"})
    one, two, _ = map(reader.read, reader.items())
    assert [path.name for path in one.images] == ["a.png", "b.png"]
    assert (two.image.name, two.no_visual, two.lost_images) == ("b.png", None, ())


def test_the_signature_knows_every_picture_and_long_contents_by_their_hash(tmp_path):
    big = encoded(picture((200, 200)), "PNG")
    assert len(big) > 4096
    (tmp_path / "a.png").write_bytes(PNG)

    def signature(image, **options):
        pq.write_table(pa.Table.from_pylist([{"text": "x", "label": "fake", "image": image}]), tmp_path / "t.parquet")
        reader = table_reader(tmp_path / "t.parquet", None, **options)
        (item,) = reader.items()
        found = reader.signature(item)
        return json.loads(json.dumps(found))  # plain values

    stored = signature({"bytes": big, "path": "x"})
    assert stored == signature({"bytes": big, "path": "x"})
    assert stored != signature({"bytes": big + b"\0", "path": "x"})
    one, two = signature("a.png"), signature(["a.png", "a"])
    stat = (tmp_path / "a.png").stat()
    assert one[2] == [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]  # as it was before there could be several
    assert two[2] == one[2]
    (tmp_path / "b.png").write_bytes(PNG)
    assert len(signature(["a.png", "b"])[2]) == 2
    assert signature("gone")[2] is None
    url = "http://images.invalid/b.png"
    assert signature(url)[2] is None
    assert signature(url, downloaded={url: "/x"})[2] == "/x"
    assert signature(url, not_downloaded={url: ("not found", "404")})[2] == ["not found", "404"]
