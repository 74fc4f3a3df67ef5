import json
import pickle
import shutil

import pytest

from safe_exp.config.data import LabelsConfig
from safe_exp.data.reading.articles import Article, LeftOut
from safe_exp.data.reading.readers.newsclippings import NewsClippingsReader
from safe_exp.system.errors import UserError
from tests.data.published import sentence, write_json, write_newsclippings

LABELS = LabelsConfig(fake=["true"], real=["false"])
MATCHES, NEWS = "news_clippings/data/merged_balanced/train.json", "visual_news/origin/data.json"


@pytest.fixture
def root(tmp_path):
    write_newsclippings(tmp_path)
    return tmp_path


def reader(root, reads_captions=False, labels=LABELS):
    return NewsClippingsReader(str(root / MATCHES), str(root / "visual_news" / "origin"), None, labels, reads_captions)


def read(root, **arguments):
    source = reader(root, **arguments)
    return [source.read(item) for item in source.items()]


def change(path, edit):
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_a_caption_is_joined_with_the_photograph_of_the_other_id(root):
    found = [item for item in read(root) if isinstance(item, Article)]
    real, fake = found[:2]
    assert (real.id, real.label, real.text, real.source) == ("90000-90000", 0, sentence(90000), "bbc")
    assert (fake.id, fake.label, fake.text) == ("90000-90001", 1, sentence(90000))
    images = root / "visual_news" / "origin" / "bbc" / "images" / "0001"
    assert [article.images for article in (real, fake)] == [(images / "90000.jpg",), (images / "90001.jpg",)]


def test_ids_that_visualnews_lacks_are_left_out_with_the_id(root):
    lost = [item for item in read(root) if isinstance(item, LeftOut)]
    assert [(item.path, item.reason, item.detail) for item in lost] == [
        ("train.json row 5", "id is not in VisualNews", "id 5"),
        ("train.json row 6", "id is not in VisualNews", "image_id 6"),
    ]


def test_every_pair_of_a_damaged_file_is_an_article_or_counted(root):
    whole = len(read(root))

    def damage(content):
        pairs = content["annotations"]
        pairs[0] = "text"
        pairs[1] = None
        del pairs[2]["id"]
        pairs[3]["falsified"] = "perhaps"
        del pairs[6]["falsified"]
        pairs[7]["image_id"] = [1, 2]

    change(root / MATCHES, damage)
    change(root / NEWS, lambda news: news.append({"caption": "of no photograph", "image_path": "x.jpg"}))
    found = read(root)
    assert len(found) == whole
    reasons = [item.reason for item in found if isinstance(item, LeftOut)]
    assert reasons == [
        "pair is not a JSON object", "pair is not a JSON object", "id is not in VisualNews",
        "label is not one of data.labels", "id is not in VisualNews", "id is not in VisualNews",
        "label is not one of data.labels", "id is not in VisualNews",
    ]  # fmt: skip


def test_damaged_entries_of_visualnews_cost_their_pairs_alone(root):
    def damage(news):
        news[0] = None
        news[2]["image_path"] = 7
        news[4]["caption"] = None
        news.append({"id": None})

    whole = {item.id: item for item in read(root) if isinstance(item, Article)}
    change(root / NEWS, damage)
    found = read(root)
    lost = [item for item in found if isinstance(item, LeftOut)]
    assert [item.detail for item in lost] == ["id 90000", "id 90000", "id 5", "image_id 6"]
    articles = {item.id: item for item in found if isinstance(item, Article)}
    assert articles["90002-90002"].no_visual == ("no image", "column image is empty or absent")
    assert (articles["90004-90004"].text, len(articles["90004-90004"].images)) == ("", 1)
    assert len(articles) == len(whole) - 2


def test_a_missing_photograph_and_one_outside_are_reasons(root):
    (root / "visual_news" / "origin" / "bbc" / "images" / "0001" / "90000.jpg").unlink()
    change(root / NEWS, lambda news: news[1].update(image_path="../../../secret.jpg"))
    (root / "secret.jpg").write_bytes(b"x")
    real, fake = read(root)[:2]
    assert real.no_visual[0] == "no image file"
    assert fake.no_visual[0] in ("no image file", "image lies outside data.images")
    assert fake.images == ()


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        (NEWS, None, r"data\.visual_news=.*origin holds no data\.json .*VisualNews, which its authors give on request"),
        (NEWS, '{"id": 1}', r"data\.visual_news=.*data\.json cannot be read \(.*Expected VisualNews' array of objects"),
        (NEWS, '[{"id": 1}, {"id"', r"data\.json cannot be read \(.*Is the file whole"),
        (MATCHES, None, r"train\.json does not exist .*Expected a file of matches"),
        (MATCHES, '{"pairs": []}', r"train\.json has no key 'annotations'\. Expected a file of matches"),
        (MATCHES, "[1]", r"train\.json cannot be read \(.*Expected a file of matches"),
        (MATCHES, '{"annotations": [{"id": 1}', r"train\.json cannot be read \(.*Is the file whole"),
    ],
)
def test_other_files_are_refused_with_what_was_expected(root, path, content, message):
    (root / path).unlink()
    if content is not None:
        (root / path).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read(root)


def test_visualnews_is_read_once_and_again_when_it_changes(root, monkeypatch):
    source, calls = reader(root), []
    whole = NewsClippingsReader._read_news
    monkeypatch.setattr(NewsClippingsReader, "_read_news", lambda self, wanted: calls.append(1) or whole(self, wanted))
    before = [source.signature(item) for item in source.items()]
    assert [source.signature(item) for item in source.items()] == before
    assert len(calls) == 1
    change(root / NEWS, lambda news: news[0].update(caption="another"))
    after = [source.signature(item) for item in source.items()]
    assert [one != other for one, other in zip(before, after, strict=True)] == [
        True,
        True,
        *[False] * (len(before) - 2),
    ]


def test_a_process_gets_no_copy_of_visualnews(root):
    source = reader(root)
    items = list(source.items())
    sent = pickle.loads(pickle.dumps(source))
    assert len(pickle.dumps(source)) < 5000
    assert [sent.read(item) for item in items] == [source.read(item) for item in items]


def test_pairs_without_labels_are_read_for_predictions(root):
    def strip(content):
        for pair in content["annotations"]:
            del pair["falsified"]

    change(root / MATCHES, strip)
    assert {item.label for item in read(root, labels=None) if isinstance(item, Article)} == {None}


def test_entries_that_no_pair_names_are_not_kept(root):
    write_json(root / MATCHES, {"annotations": [{"id": 90000, "image_id": "90000", "falsified": 0}]})
    source = reader(root, labels=LabelsConfig(fake=["1"], real=["0"]))
    (item,) = source.items()
    assert source.read(item).label == 0
    assert set(source._found[1]) == {"90000"}


def test_captions_alone_are_read_without_photographs(root):
    shutil.rmtree(root / "visual_news" / "origin" / "bbc")
    found = [item for item in read(root, reads_captions=True) if isinstance(item, Article)]
    assert found
    assert {item.no_visual[0] for item in found} == {"no caption"}
