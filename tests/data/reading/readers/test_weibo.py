import shutil
from pathlib import Path

import pytest

from safe_exp.config.data import LabelsConfig
from safe_exp.data.reading.articles import Article, LeftOut
from safe_exp.data.reading.readers.weibo import WeiboReader, read_posts
from safe_exp.data.reading.untrusted import UnusableArticle
from safe_exp.system.errors import UserError
from tests.data.published import write_weibo

LABELS = LabelsConfig(fake=["rumor"], real=["nonrumor"])
HEAD = "{}|user|http://posts.invalid/1|null|2013-05-06 10:11|true|1|2|3|4|0|5|6|7|a program"
POST = [HEAD.format("a"), "http://pictures.invalid/large/a.jpg|null", "正文"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("weibo")
    return root, write_weibo(root)


@pytest.fixture
def root(copy, tmp_path):
    return shutil.copytree(copy[0], tmp_path / "weibo")


def read(root, reads_captions=False, labels=LABELS):
    reader = WeiboReader(str(root), None, labels, reads_captions, reads_sides=True)
    return [reader.read(item) for item in reader.items()]


def lines_of(*posts):
    return [line.encode() for post in posts for line in post]


def taken(*posts):
    return [post if isinstance(post, list) else (line, post.reason) for line, post in read_posts(lines_of(*posts))]


def test_posts_are_read_with_class_side_text_date_and_all_their_pictures(copy):
    root, made = copy
    found = {article.id: article for article in read(root)}
    assert len(found) == made.rows
    assert {article.id: article.label for article in found.values()} == made.labels
    assert {article.id: article.side for article in found.values()} == made.sides
    assert {article.id: len(article.images) for article in found.values()} == made.pictures
    one = found["0001abc"]  # a rumour with two pictures
    assert [path.relative_to(root.resolve()).as_posix() for path in one.images] == [
        "rumor_images/0001abc_0.jpg", "rumor_images/0001abc_1.jpg"
    ]  # fmt: skip
    assert (one.label, one.side, one.date, one.source, len(one.text)) == (1, "train", "2013-05-06", None, 25)
    assert found["0003abc"].text == ""


def test_the_time_is_found_behind_a_name_that_holds_the_separator(root):
    path = root / "tweets" / "train_rumor.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("|name|", "|a|b|c|", 1), encoding="utf-8")
    assert read(root)[0].date == "2013-05-06"


def test_milliseconds_are_a_time(root):
    path = root / "tweets" / "test_nonrumor.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("2013-05-06 10:11", "1447078683000"), encoding="utf-8")
    assert read(root)[-1].date == "2015-11-09"


def test_a_picture_may_be_spelled_otherwise_than_in_its_address(root):
    folder = root / "rumor_images"
    (folder / "0000abc_0.jpg").rename(folder / "0000ABC_0.gif")
    assert [path.name for path in read(root)[0].images] == ["0000ABC_0.gif"]


def test_a_missing_picture_costs_itself_alone(root):
    whole = read(root)
    lost = next(article for article in whole if len(article.images) == 1)
    several = next(article for article in whole if len(article.images) == 3)
    for article in (lost, several):
        Path(article.images[0]).unlink()
    found = {article.id: article for article in read(root)}
    assert len(found) == len(whole)
    assert found[lost.id].images == ()
    assert found[lost.id].no_visual[0] == "no image file"
    assert len(found[several.id].images) == 2
    assert found[several.id].no_visual is None


def test_an_address_leads_to_no_file_outside(root):
    (root / "secret.jpg").write_bytes(b"x")
    path = root / "tweets" / "train_rumor.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("large/0000abc_0.jpg", "large/.."), encoding="utf-8")
    assert read(root)[0].images == ()


@pytest.mark.parametrize(
    ("gone", "reason"),
    [(0, "post lacks its first line"), (1, "post lacks one of its three lines"),
     (2, "post lacks one of its three lines")],
)  # fmt: skip
@pytest.mark.parametrize("post", [0, 5, 11])
def test_a_post_that_lacks_a_line_costs_itself_alone(root, post, gone, reason):
    path = root / "tweets" / "train_rumor.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    whole = read(root)
    del lines[3 * post + gone]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = read(root)
    assert len(found) == len(whole)
    lost = [item for item in found if isinstance(item, LeftOut)]
    assert [(item.path, item.reason) for item in lost] == [(f"train_rumor.txt line {3 * post + 1}", reason)]
    assert [item for item in found if isinstance(item, Article)] == whole[:post] + whole[post + 1 :]


def test_posts_are_told_from_lines_that_belong_to_none():
    assert taken(POST, POST) == [lines_of(POST), lines_of(POST)]
    assert taken(POST, POST[1:], POST) == [lines_of(POST), (4, "post lacks its first line"), lines_of(POST)]
    assert taken(POST, POST[1:], POST[1:]) == [
        lines_of(POST), (4, "post lacks its first line"), (7, "post lacks its first line")
    ]  # fmt: skip
    assert taken(POST[:1], POST, POST[:1]) == [
        (1, "post lacks one of its three lines"), lines_of(POST), (5, "post lacks one of its three lines")
    ]  # fmt: skip
    assert taken(["", "", ""]) == []
    assert taken(POST, ["", " "]) == [lines_of(POST)]
    assert taken([*POST, "a second line"]) == [lines_of(POST), (4, "post lacks its first line")]


def test_a_line_of_many_addresses_begins_no_post():
    many = "|".join(f"http://pictures.invalid/{number}.jpg" for number in range(20)) + "|null"
    assert taken([POST[0], many, POST[2]]) == [lines_of([POST[0], many, POST[2]])]


def test_a_post_in_no_encoding_costs_itself_alone(root):
    path = root / "tweets" / "test_rumor.txt"
    lines = path.read_bytes().split(b"\n")
    lines[2] = b"\x81\x00\x8d"
    path.write_bytes(b"\n".join(lines))
    (lost,) = [item for item in read(root) if isinstance(item, LeftOut)]
    assert (lost.path, lost.reason) == ("test_rumor.txt line 1", "encoding of the post cannot be told")


def test_carriage_returns_and_a_byte_order_mark_are_no_part_of_a_post(root):
    whole = read(root)
    for path in (root / "tweets").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read(root) == whole


def test_posts_without_labels_and_without_pictures_are_read(copy):
    found = read(copy[0], reads_captions=True, labels=None)
    assert {article.label for article in found if isinstance(article, Article)} == {None}
    assert [item.reason for item in found if isinstance(item, LeftOut)] == ["no title, no text and no image"] * 4


@pytest.mark.parametrize(
    ("gone", "message"),
    [("tweets", r"weibo holds no folder tweets .*Expected a folder with tweets/train_rumor\.txt"),
     ("tweets/test_rumor.txt", r"weibo lacks tweets/test_rumor\.txt\. Expected")],
)  # fmt: skip
def test_another_folder_is_refused_and_the_layout_is_named(root, gone, message):
    path = root / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=message):
        read(root)


def test_the_signature_changes_with_a_picture_and_no_other(root):
    def signatures():
        reader = WeiboReader(str(root), None, LABELS, False, True)
        return [reader.signature(item) for item in reader.items()]

    before = signatures()
    (root / "rumor_images" / "0000abc_0.jpg").write_bytes(b"other")
    changed = [number for number, (one, other) in enumerate(zip(before, signatures(), strict=True)) if one != other]
    assert changed == [0]


def test_reasons_can_be_sent_between_processes():
    (_, reason), *_ = read_posts(lines_of(POST[:1]))
    assert isinstance(reason, UnusableArticle)
    assert reason.__reduce__()[1] == (
        "post lacks one of its three lines",
        "there is no line of its addresses of images",
    )
