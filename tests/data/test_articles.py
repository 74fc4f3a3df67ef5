import json

import pytest

from safe_exp.config import CaptionerConfig
from safe_exp.data.articles import count_reasons, read_articles
from safe_exp.data.captions import FileCaptioner, build_captioner
from safe_exp.errors import UserError
from tests.data.folders import REAL_DATA, write_article

CAPTIONS = FileCaptioner("caption.txt")


def read(root, strict=False, **arguments):
    return read_articles(root, CAPTIONS, strict, **arguments)


def test_an_article_is_read_with_all_its_fields(tmp_path):
    write_article(
        tmp_path, "fake/a", title=" T ", text="body", source="paper", publish_date="2020-01-02", caption=" a cat\n"
    )
    write_article(tmp_path, "real/b")
    (fake, real), left_out = read(tmp_path)
    assert left_out == []
    assert (fake.id, fake.label, fake.title, fake.text, fake.caption) == ("fake/a", 1, "T", "body", "a cat")
    assert (fake.site, fake.source, fake.publish_date) == (None, "paper", "2020-01-02")
    assert fake.title_and_text == "T body"
    assert (real.id, real.label, real.source, real.publish_date) == ("real/b", 0, None, None)


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


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("news_article.json", b'{"title": "a', "article file is not valid JSON"),
        ("news_article.json", b"[" * 100_000, "article file is not valid JSON"),
        ("news_article.json", b"[1, 2]", "article file is not a JSON object"),
        ("news_article.json", b'{"title": "caf\xe9"}', "article file is not UTF-8"),
        ("news_article.json", b'{"title": null, "text": "  "}', "no title and no text"),
        ("news_article.json", b'{"url": "x"}', "no title and no text"),
        ("news_article.json", None, "no article file"),
        ("caption.txt", None, "no caption file"),
        ("caption.txt", b" \n", "caption is empty"),
        ("caption.txt", b"\xff\xfe", "caption file is not UTF-8"),
    ],
)
def test_an_unusable_article_is_counted_by_its_reason_and_left_out(tmp_path, name, content, reason):
    write_article(tmp_path, "fake/good")
    write_article(tmp_path, "real/good")
    bad = write_article(tmp_path, "real/bad") / name
    bad.unlink() if content is None else bad.write_bytes(content)
    articles, left_out = read(tmp_path)
    assert [a.id for a in articles] == ["fake/good", "real/good"]
    assert [item.path for item in left_out] == ["real/bad"]
    assert count_reasons(left_out) == {reason: 1}
    with pytest.raises(UserError, match=rf"real/bad: {reason} .*data\.strict=false"):
        read(tmp_path, strict=True)


def test_odd_json_values_do_not_stop_the_reading(tmp_path):
    odd = {"text": ["one", None, "two"], "title": 7, "source": {"a": 1}, "publish_date": 1590105600.0}
    write_article(tmp_path, "fake/odd", **odd)
    write_article(tmp_path, "real/null", title=None, source="null", publish_date=[])
    (odd, null), left_out = read(tmp_path)
    assert left_out == []
    assert (odd.title, odd.text, odd.source, odd.publish_date) == ("7", "one two", None, "1590105600.0")
    assert (null.title, null.source, null.publish_date) == ("", None, None)


def test_byte_order_marks_and_half_surrogates_are_read(tmp_path):
    for label in ("fake", "real"):
        folder = write_article(tmp_path, f"{label}/a")
        (folder / "news_article.json").write_bytes(b'\xef\xbb\xbf{"title": "x \\ud83d y"}')
    articles, left_out = read(tmp_path)
    assert left_out == []
    assert articles[0].title.encode("utf-8") == b"x ? y"


def test_links_that_lead_out_of_the_root_are_not_followed(tmp_path):
    root = tmp_path / "data"
    write_article(root, "fake/a")
    write_article(root, "real/b")
    outside = write_article(tmp_path, "elsewhere")
    (root / "real" / "linked").symlink_to(outside)
    leaking = write_article(root, "real/leaking", caption=None)
    (leaking / "caption.txt").symlink_to(outside / "caption.txt")
    (root / "site").symlink_to(tmp_path)
    articles, left_out = read(root)
    assert [a.id for a in articles] == ["fake/a", "real/b"]
    assert [item.path for item in left_out] == ["real/leaking", "real/linked", "site"]
    assert {item.reason for item in left_out} == {"a link leads outside data.root"}


def test_stray_files_and_hidden_folders_are_not_articles(tmp_path):
    write_article(tmp_path, "fake/a")
    write_article(tmp_path, "real/b")
    write_article(tmp_path, ".draft/fake/c")
    (tmp_path / "real" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "real" / "notes.txt").write_text("x")
    (tmp_path / "README.md").write_text("x")
    articles, left_out = read(tmp_path)
    assert [a.id for a in articles] == ["fake/a", "real/b"]
    assert left_out == []


def test_a_root_that_is_missing_or_misplaced_is_refused_with_advice(tmp_path):
    write_article(tmp_path, "site/fake/a")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"data\.root=\S+none does not exist .*Expected <root>.*\{fake,real\}"):
        read(tmp_path / "none")
    with pytest.raises(UserError, match=r"data\.root=\S+file is not a folder"):
        read(tmp_path / "file")
    with pytest.raises(UserError, match=r"is the 'fake' folder itself, one level too deep.*Set data\.root=\S+site\."):
        read(tmp_path / "site" / "fake")
    with pytest.raises(UserError, match=r"holds no folder named 'fake' or 'real'.*Point data\.root at"):
        read(tmp_path / "site" / "fake" / "a")


def test_no_article_and_one_class_only_are_refused_with_the_reasons(tmp_path):
    write_article(tmp_path, "fake/a", caption=None)
    with pytest.raises(UserError, match=r"no usable article.*1 × no caption file \(for example fake/a: .*caption\.txt"):
        read(tmp_path)
    write_article(tmp_path, "real/b")
    with pytest.raises(UserError, match=r"all 1 usable articles are real, none is fake.*1 × no caption file"):
        read(tmp_path)
    articles, _ = read(tmp_path, both_classes=False)
    assert [a.id for a in articles] == ["real/b"]


def test_a_captioner_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match=r"captioner\.name=oracle: expected file"):
        build_captioner(CaptionerConfig("oracle", "caption.txt"))
    with pytest.raises(UserError, match=r"captioner\.file_name=\.\./x: expected the bare name"):
        build_captioner(CaptionerConfig("file", "../x"))


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the real articles lie beside the checkout and are not here")
def test_the_real_articles_are_read_as_their_readme_counts_them():
    articles, left_out = read(REAL_DATA / "politifact78")
    assert (len(articles), sum(a.label for a in articles), left_out) == (78, 26, [])
    with pytest.raises(UserError, match=r"412 × no caption file; 10 × no title and no text"):
        read(REAL_DATA / "fakenewsnet_v1")


def test_a_body_with_any_json_escape_survives(tmp_path):
    text = 'quote " backslash \\ tab\t line\n null \x00 emoji 😀 nbsp\u00a0end'
    for label in ("fake", "real"):
        write_article(tmp_path, f"{label}/a", text=text)
    articles, _ = read(tmp_path)
    assert articles[0].text == text == json.loads(json.dumps(text))
