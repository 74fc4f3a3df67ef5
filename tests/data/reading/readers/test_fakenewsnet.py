import errno
import json
import os
from pathlib import Path

import pytest

from safe_exp.config.data import LabelsConfig
from safe_exp.data.reading.articles import Article, count_reasons
from safe_exp.data.reading.readers import PART_ARTICLES, cut_into_parts
from safe_exp.data.reading.readers.fakenewsnet import FolderReader
from safe_exp.system.errors import UserError
from tests.data.folders import REAL_DATA, write_article

LABELS = LabelsConfig(fake=["fake"], real=["real"])


def reader(root, caption_file="caption.txt", labels=LABELS, **arguments):
    return FolderReader(str(root), labels, caption_file, **arguments)


def read(root, **arguments):
    source = reader(root, **arguments)
    found = [source.read(item) for item in source.items()]
    articles = [item for item in found if isinstance(item, Article)]
    return articles, [item for item in found if not isinstance(item, Article)] + source.stray()


def test_an_article_is_read_with_all_its_fields(tmp_path):
    content = dict(title=" T ", text="body", source="paper", publish_date="2020-01-02", top_img="http://x/a.jpg")
    write_article(tmp_path, "fake/a", caption=" a cat\n", **content)
    write_article(tmp_path, "real/b")
    (fake, real), left_out = read(tmp_path)
    assert left_out == []
    assert (fake.id, fake.label, fake.title, fake.text, fake.caption) == ("fake/a", 1, "T", "body", "a cat")
    assert (fake.site, fake.source, fake.date, fake.image_urls) == (None, "paper", "2020-01-02", ("http://x/a.jpg",))
    assert fake.title_and_text == "T body"
    assert (real.id, real.label, real.source, real.date) == ("real/b", 0, None, None)


def test_site_level_and_both_file_names_are_read_in_the_order_of_the_ids(tmp_path):
    write_article(tmp_path, "politifact/real/2")
    folder = write_article(tmp_path, "gossipcop/fake/1")
    (folder / "news_article.json").rename(folder / "news content.json")
    write_article(tmp_path, "fake/3")
    articles, _ = read(tmp_path)
    assert [(a.id, a.site, a.label) for a in articles] == [
        ("fake/3", None, 1),
        ("gossipcop/fake/1", "gossipcop", 1),
        ("politifact/real/2", "politifact", 0),
    ]


def test_folders_that_cannot_be_read_are_counted_and_stop_nothing(tmp_path, monkeypatch):
    for item in ("fake/a", "fake/locked", "real/b"):
        write_article(tmp_path, item, caption="a cat")
    (tmp_path / "lost+found").mkdir()
    # A test may run as root, whom no permission stops.
    exists, scandir = Path.exists, os.scandir
    monkeypatch.setattr(Path, "exists", lambda path: _refuse_if("locked", path.parent) or exists(path))
    monkeypatch.setattr(os, "scandir", lambda path: _refuse_if("lost+found", path) or scandir(path))
    articles, left_out = read(tmp_path)
    assert [article.id for article in articles] == ["fake/a", "real/b"]
    assert {(item.path, item.reason) for item in left_out} == {
        ("fake/locked", "article folder cannot be read"),
        ("lost+found", "folder cannot be read"),
    }


def _refuse_if(name, path):
    if Path(path).name == name:
        raise PermissionError(errno.EACCES, "Permission denied")


def test_label_folders_are_known_in_any_case_and_by_any_word_that_is_named(tmp_path):
    write_article(tmp_path, "Fake/a")
    write_article(tmp_path, "REAL/b")
    articles, _ = read(tmp_path)
    assert [(a.id, a.label) for a in articles] == [("Fake/a", 1), ("REAL/b", 0)]
    write_article(tmp_path, "Unreliable/c")
    articles, _ = read(tmp_path, labels=LabelsConfig(fake=["unreliable"], real=["real"]))
    assert [(a.id, a.label) for a in articles] == [("REAL/b", 0), ("Unreliable/c", 1)]


@pytest.mark.parametrize(
    ("content", "url"),
    [
        ({"top_img": "/a.jpg", "url": "http://x/news/1"}, "http://x/a.jpg"),
        ({"top_img": "//cdn/a.jpg", "url": "https://x/1"}, "https://cdn/a.jpg"),
        ({"top_img": "", "images": ["http://x/b.png", "c"]}, "http://x/b.png"),
        ({"top_img": "http://[", "url": "http://x"}, "http://["),
        ({"images": []}, None),
    ],
)
def test_the_address_of_an_image_is_made_whole(tmp_path, content, url):
    write_article(tmp_path, "fake/a", **content)
    (article,), _ = read(tmp_path)
    assert article.image_urls == ((url,) if url else ())


def test_an_image_captioner_gets_the_image_and_the_file_captioner_the_sentence(tmp_path):
    folder = write_article(tmp_path, "fake/a")
    (folder / "image.jpeg").write_bytes(b"\xff\xd8\xff")
    (folder / "image_thumbnail.txt").write_bytes(b"x")
    (article,), _ = read(tmp_path, caption_file=None)
    assert (article.image.name, article.caption, article.no_visual) == ("image.jpeg", "", None)
    (article,), _ = read(tmp_path)
    assert (article.image, article.caption, article.no_visual) == (None, "a red boat", None)


def test_an_image_that_lies_elsewhere_is_taken_only_where_none_lies_beside_the_article(tmp_path):
    for name in ("a", "b"):
        write_article(tmp_path, f"fake/{name}")
    (tmp_path / "fake" / "a" / "image.png").write_bytes(b"own")
    downloaded = {f"fake/{name}": str(tmp_path / "fetched.jpg") for name in ("a", "b")}
    (own, fetched), _ = read(tmp_path, caption_file=None, downloaded=downloaded)
    assert own.image == tmp_path / "fake" / "a" / "image.png"
    assert fetched.image == tmp_path / "fetched.jpg"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"title": "a', "article file is not valid JSON"),
        (b"[" * 100_000, "article file is not valid JSON"),
        (b"\x00" * 100, "article file is not valid JSON"),
        (b"", "article file is not valid JSON"),
        (b"[1, 2]", "article file is not a JSON object"),
        (b'{"title": "\x81\x00\x8d"}', "encoding of the article cannot be told"),
        (None, "no article file"),
    ],
)
def test_an_unusable_article_is_left_out_with_its_reason(tmp_path, content, reason):
    bad = write_article(tmp_path, "real/bad") / "news_article.json"
    bad.unlink() if content is None else bad.write_bytes(content)
    write_article(tmp_path, "fake/good")
    articles, left_out = read(tmp_path)
    assert [a.id for a in articles] == ["fake/good"]
    assert [item.path for item in left_out] == ["real/bad"]
    assert count_reasons(left_out) == {reason: 1}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no caption file"),
        (b" \n", "caption is empty"),
        (b"\xff\xfe\x00", "encoding of the caption cannot be told"),
        (b"x" * 1_000_001, "caption file is too large"),
    ],
)
def test_an_article_without_a_caption_says_why_and_is_kept_for_its_text(tmp_path, content, reason):
    path = write_article(tmp_path, "real/bad") / "caption.txt"
    path.unlink() if content is None else path.write_bytes(content)
    (article,), left_out = read(tmp_path)
    assert left_out == []
    assert (article.caption, article.no_visual[0]) == ("", reason)


def test_an_article_with_neither_text_nor_image_is_left_out(tmp_path):
    write_article(tmp_path, "real/bad", title=None, text="  ", caption=None)
    _, left_out = read(tmp_path)
    assert count_reasons(left_out) == {"no title, no text and no image": 1}


FRENCH = "Le café était fermé: « déjà vu », disait l'élève à Noël où l'été s'arrête"
RUSSIAN = "Правительство опровергло сообщение о закрытии границы, сообщает местная газета в понедельник утром"


@pytest.mark.parametrize(
    ("encoding", "title"),
    [
        *((name, FRENCH) for name in ("utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1")),
        ("cp1251", RUSSIAN),
    ],
)
def test_text_is_read_in_the_encoding_that_it_was_written_in(tmp_path, encoding, title):
    folder = write_article(tmp_path, "fake/a")
    (folder / "news_article.json").write_bytes(json.dumps({"title": title}, ensure_ascii=False).encode(encoding))
    (article,), _ = read(tmp_path)
    assert article.title == title


def test_odd_json_values_do_not_stop_the_reading(tmp_path):
    odd = {"text": ["one", None, "two"], "title": 7, "source": {"a": 1}, "publish_date": 1590105600.0}
    write_article(tmp_path, "fake/odd", **odd)
    write_article(tmp_path, "real/null", title=None, source="null", publish_date=[], images=[{"no": "string"}])
    (odd, null), left_out = read(tmp_path)
    assert left_out == []
    assert (odd.title, odd.text, odd.source, odd.date) == ("7", "one two", None, "2020-05-22")
    assert (null.title, null.source, null.date, null.image_urls) == ("", None, None, ())


def test_links_that_lead_out_of_the_root_are_not_followed(tmp_path):
    root = tmp_path / "data"
    write_article(root, "fake/a")
    outside = write_article(tmp_path, "elsewhere")
    (outside / "image.png").write_bytes(b"secret")
    (root / "real").mkdir()
    (root / "real" / "linked").symlink_to(outside)
    leaking = write_article(root, "real/leaking", caption=None)
    (leaking / "caption.txt").symlink_to(outside / "caption.txt")
    (leaking / "image.png").symlink_to(outside / "image.png")
    (root / "site").symlink_to(tmp_path)
    for caption_file in ("caption.txt", None):
        articles, left_out = read(root, caption_file=caption_file)
        assert [a.id for a in articles] == ["fake/a", "real/leaking"]
        assert articles[1].no_visual[0] == "a link leads outside data.root"
        assert [item.path for item in left_out] == ["site", "real/linked"]
        assert {item.reason for item in left_out} == {"a link leads outside data.root"}


def test_label_folders_that_are_links_out_of_the_root_are_named(tmp_path):
    write_article(tmp_path, "data/fake/a")
    root = tmp_path / "links"
    root.mkdir()
    (root / "fake").symlink_to(tmp_path / "data" / "fake")
    with pytest.raises(UserError, match=r"fake: a link leads outside data.root, and is not followed.*cp -rL"):
        read(root)


def test_label_folders_that_hold_files_in_place_of_folders_are_counted(tmp_path):
    write_article(tmp_path, "real/a")
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "BuzzFeed_Fake_1-Webpage.json").write_text("{}")
    articles, left_out = read(tmp_path)
    assert [article.id for article in articles] == ["real/a"]
    assert [(item.path, item.reason) for item in left_out] == [("fake", "label folder without article folders")]
    assert "1 files; expected a folder for each article" in left_out[0].detail


def test_what_macos_adds_to_its_archives_is_passed_over(tmp_path):
    write_article(tmp_path, "fake/a")
    (tmp_path / "__MACOSX" / "fake" / "a").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "fake" / "a" / "._news_article.json").write_bytes(b"x")
    articles, left_out = read(tmp_path)
    assert [article.id for article in articles] == ["fake/a"]
    assert left_out == []


def test_links_within_the_root_are_followed(tmp_path):
    write_article(tmp_path, "fake/a")
    (tmp_path / "fake" / "b").symlink_to(tmp_path / "fake" / "a")
    articles, _ = read(tmp_path)
    assert [a.id for a in articles] == ["fake/a", "fake/b"]


def test_stray_files_and_hidden_folders_are_not_articles(tmp_path):
    write_article(tmp_path, "fake/a")
    write_article(tmp_path, "real/b")
    write_article(tmp_path, ".draft/fake/c")
    (tmp_path / "real" / ".DS_Store").write_bytes(b"x")
    for number in range(2000):
        (tmp_path / "real" / f"notes{number}.txt").touch()
        (tmp_path / "real" / "b" / f"tweet{number}.json").touch()
    articles, left_out = read(tmp_path)
    assert [a.id for a in articles] == ["fake/a", "real/b"]
    assert left_out == []


def test_a_folder_name_that_is_no_utf8_can_be_named(tmp_path):
    write_article(tmp_path, "fake/a")
    os.rename(tmp_path / "fake" / "a", os.fsencode(tmp_path / "fake") + b"/\xff\xfe")
    (article,), _ = read(tmp_path)
    assert article.id.encode("utf-8")
    assert article.title == "title fake/a"


def test_a_root_that_is_missing_or_misplaced_is_refused_with_advice(tmp_path):
    write_article(tmp_path, "site/fake/a")
    (tmp_path / "file").write_text("x")
    for place, message in (
        ("none", r"data\.root=\S+none does not exist .*Expected <root>.*\{fake,real\}"),
        ("file", r"data\.root=\S+file is not a folder"),
        ("site/fake", r"is the 'fake' folder itself, one level too deep.*Set data\.root=\S+site\."),
        ("site/fake/a", r"holds no folder named 'fake' or 'real'.*Point data\.root at"),
    ):
        with pytest.raises(UserError, match=message):
            read(tmp_path / place)


def test_parts_cover_every_item_once_and_in_order(tmp_path):
    for number in range(PART_ARTICLES + 3):
        (tmp_path / "fake" / f"{number:04d}").mkdir(parents=True)
    source = reader(tmp_path)
    listed = list(cut_into_parts(source))
    assert [part.number for part in listed] == [0, 1]
    assert [item for part in listed for item in part.items] == list(source.items())


def test_the_signature_changes_with_what_is_read_and_with_nothing_else(tmp_path):
    folder = write_article(tmp_path, "fake/a")
    source, first = reader(tmp_path), reader(tmp_path).signature("fake/a")
    (folder / "notes.txt").write_text("x")
    (folder / "image.png").write_bytes(b"x")  # which captioner=file does not look at
    assert source.signature("fake/a") == first
    (folder / "caption.txt").write_text("a new boat")
    changed = source.signature("fake/a")
    assert changed != first
    (folder / "caption.txt").unlink()
    assert source.signature("fake/a") not in (first, changed)


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the real articles lie beside the checkout and are not here")
def test_the_real_articles_are_read_as_their_readme_counts_them():
    articles, left_out = read(REAL_DATA / "politifact78")
    assert (len(articles), sum(a.label for a in articles), left_out) == (78, 26, [])
    articles, left_out = read(REAL_DATA / "recovery", caption_file=None)
    assert (len(articles), sum(a.label for a in articles), left_out) == (874, 306, [])
    assert all(a.image and a.date for a in articles)
    assert len({a.source for a in articles}) == 32
    articles, left_out = read(REAL_DATA / "fakenewsnet_v1")
    assert (len(articles), len(left_out)) == (412, 10)
    assert {a.no_visual[0] for a in articles} == {"no caption file"}


def test_a_body_with_any_json_escape_survives(tmp_path):
    text = 'quote " backslash \\ tab\t line\n emoji 😀 nbsp\u00a0end'
    write_article(tmp_path, "fake/a", text=text)
    (article,), _ = read(tmp_path)
    assert article.text == text


def test_without_labels_a_folder_that_lacks_its_article_file_is_named_and_not_passed_over(tmp_path):
    write_article(tmp_path, "week1/a")
    (write_article(tmp_path, "week1/b") / "news_article.json").unlink()
    write_article(tmp_path, "c")
    articles, left_out = read(tmp_path, labels=None)
    assert [(article.id, article.label) for article in articles] == [("c", None), ("week1/a", None)]
    assert [(item.path, item.reason) for item in left_out] == [("week1/b", "no article file")]


def test_folders_to_ignore_are_counted_and_the_rest_is_refused(tmp_path):
    write_article(tmp_path, "fake/a")
    write_article(tmp_path, "real/b")
    write_article(tmp_path, "Humor/c")
    labels = LabelsConfig(fake=["fake"], real=["real"], ignore=["humor"])
    articles, left_out = read(tmp_path, labels=labels)
    assert [article.id for article in articles] == ["fake/a", "real/b"]
    assert [(item.path, item.reason) for item in left_out] == [("Humor/c", "label is one of data.labels.ignore")]
    with pytest.raises(UserError, match=r"data\.labels\.fake=rest: .*Name them"):
        read(tmp_path, labels=LabelsConfig(fake="rest", real=["real"]))
